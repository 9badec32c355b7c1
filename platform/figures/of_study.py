"""All figures of a study."""

from collections.abc import Callable

from platform.figures.figure import Figure, drawn_of
from platform.figures.front import draw_front
from platform.figures.history import draw_history
from platform.figures.importances import draw_importances
from platform.figures.learning_curves import draw_learning_curves
from platform.figures.parallel_coordinates import draw_parallel_coordinates
from platform.figures.per_fold import draw_per_fold
from platform.figures.slices import draw_slices
from platform.figures.timeline import draw_timeline
from platform.stored_study import StoredStudy

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
