"""All figures of a study."""

from collections.abc import Callable

from platform.read_only_study import StoredStudy
from platform.reporting.figures.figure import Figure, make_figures
from platform.reporting.figures.front import plot_front
from platform.reporting.figures.history import plot_history
from platform.reporting.figures.importances import plot_importances
from platform.reporting.figures.learning_curves import plot_learning_curves
from platform.reporting.figures.parallel_coordinates import plot_parallel_coordinates
from platform.reporting.figures.per_fold import plot_per_fold
from platform.reporting.figures.slices import plot_slices
from platform.reporting.figures.timeline import plot_timeline

FIGURES: tuple[Callable[[StoredStudy], Figure], ...] = (
    plot_front,
    plot_learning_curves,
    plot_per_fold,
    plot_importances,
    plot_slices,
    plot_parallel_coordinates,
    plot_history,
    plot_timeline,
)


def figures_of_study(stored: StoredStudy) -> list[Figure]:
    """Make all figures of a study; print a message for each one whose numbers are missing."""
    return make_figures(stored, FIGURES, f"study {stored.name}")
