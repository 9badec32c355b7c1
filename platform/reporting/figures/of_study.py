"""All figures of a study."""

from collections.abc import Callable

from platform.read_only_study import StoredStudy
from platform.reporting.figures.figure import Figure, drawn_of
from platform.reporting.figures.front import draw_front
from platform.reporting.figures.history import draw_history
from platform.reporting.figures.importances import draw_importances
from platform.reporting.figures.learning_curves import draw_learning_curves
from platform.reporting.figures.parallel_coordinates import draw_parallel_coordinates
from platform.reporting.figures.per_fold import draw_per_fold
from platform.reporting.figures.slices import draw_slices
from platform.reporting.figures.timeline import draw_timeline

FIGURES: tuple[Callable[[StoredStudy], Figure], ...] = (
    draw_front,
    draw_learning_curves,
    draw_per_fold,
    draw_importances,
    draw_slices,
    draw_parallel_coordinates,
    draw_history,
    draw_timeline,
)


def figures_of_study(stored: StoredStudy) -> list[Figure]:
    """Make all figures of a study; print a message for each one whose numbers are missing."""
    return drawn_of(stored, FIGURES, f"study {stored.name}")
