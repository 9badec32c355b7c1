"""All figures of a trained model on one split."""

from collections.abc import Callable
from pathlib import Path

from platform.evaluation import ask
from platform.reporting.figures.answers import Answers, answer
from platform.reporting.figures.class_size import draw_class_size
from platform.reporting.figures.cmc import draw_cmc
from platform.reporting.figures.confusion import draw_confusion
from platform.reporting.figures.figure import Figure, drawn_of
from platform.reporting.figures.grad_cam import draw_grad_cam
from platform.reporting.figures.ranked_lists import draw_ranked_lists
from platform.reporting.figures.works_map import draw_works_map
from shards_tools.command import say
from shards_tools.errors import Error
from shards_tools.manifest import Manifest

FIGURES: tuple[Callable[[Answers], Figure], ...] = (
    draw_cmc,
    draw_ranked_lists,
    draw_works_map,
    draw_grad_cam,
    draw_confusion,
    draw_class_size,
)


def figures_of_model(checkpoint: Path, manifest: Manifest, *, split: str, fold: int | None) -> list[Figure]:
    """Make all figures of a checkpoint on a split; print a message for each one that the data do not support.

    Args:
        split: `val` or `test`.
        fold: None: the fold that the checkpoint was validated on.
    """
    asked = ask(checkpoint, manifest, split=split, fold=fold)
    try:
        answers = answer(asked)
    except Error as reason:
        say(f"Omitted all figures of {checkpoint} on {split}: {reason}")
        return []
    return drawn_of(answers, FIGURES, f"{checkpoint} on {split}")
