"""All figures of a trained model on one split."""

from collections.abc import Callable
from pathlib import Path

from platform.evaluation import ask
from platform.reporting.figures.answers import Answers, compute_answers
from platform.reporting.figures.class_size import plot_class_size
from platform.reporting.figures.cmc import plot_cmc
from platform.reporting.figures.confusion import plot_confusion
from platform.reporting.figures.figure import Figure, make_figures
from platform.reporting.figures.grad_cam import plot_grad_cam
from platform.reporting.figures.ranked_lists import plot_ranked_lists
from platform.reporting.figures.works_map import plot_works_map
from shards_tools.command import say
from shards_tools.errors import Error
from shards_tools.manifest import Manifest

FIGURES: tuple[Callable[[Answers], Figure], ...] = (
    plot_cmc,
    plot_ranked_lists,
    plot_works_map,
    plot_grad_cam,
    plot_confusion,
    plot_class_size,
)


def figures_of_model(checkpoint: Path, manifest: Manifest, *, split: str, fold: int | None) -> list[Figure]:
    """Make all figures of a checkpoint on a split; print a message for each one that the data do not support.

    Args:
        split: `val` or `test`.
        fold: None: the fold that the checkpoint was validated on.
    """
    asked = ask(checkpoint, manifest, split=split, fold=fold)
    try:
        answers = compute_answers(asked)
    except Error as reason:
        say(f"Omitted all figures of {checkpoint} on {split}: {reason}")
        return []
    return make_figures(answers, FIGURES, f"{checkpoint} on {split}")
