"""All figures of a study."""

from collections.abc import Callable

from platform.figures.figure import Figure
from platform.figures.front import draw_front
from platform.figures.history import draw_history
from platform.figures.importances import draw_importances
from platform.figures.learning_curves import draw_learning_curves
from platform.figures.parallel_coordinates import draw_parallel_coordinates
from platform.figures.per_fold import draw_per_fold
from platform.figures.slices import draw_slices
from platform.figures.timeline import draw_timeline
from platform.stored_study import StoredStudy
from shards_tools.command import say
from shards_tools.errors import Error

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
    """What there is to see of a study; a figure that it does not have yet is left out, and said."""
    figures = []
    for draw in FIGURES:
        try:
            figures.append(draw(stored))
        except Error as reason:
            say(f"left out of the figures: {draw.__name__.removeprefix('draw_').replace('_', ' ')}: {reason}")
    return figures
