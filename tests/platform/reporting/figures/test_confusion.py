"""The squares of a confusion are counts that a slow loop finds, and what is not shown is said."""

from collections import Counter

import numpy as np
import torch

from platform.reporting.figures.answers import Answers, Rankings
from platform.reporting.figures.confusion import plot_confusion
from tests.platform.reporting.figures.by_hand import ranked_by_hand
from trainables.device import Device


def test_works_are_counted_by_the_first_image_that_is_not_junk(rankings: Rankings) -> None:
    manifest = rankings.asked.evaluation.manifest
    slow = Counter(
        (manifest.works[manifest.work[entry.query]], manifest.works[manifest.work[entry.gallery[0]]])
        for entry in ranked_by_hand(rankings.asked)
    )
    rows = plot_confusion(rankings).rows
    assert {(right, answered): count for right, answered, count, _ in rows} == slow
    asked = Counter(right for right, _ in slow.elements())
    assert all(fraction == count / asked[right] for right, _, count, fraction in rows)


def test_of_many_classes_those_of_most_mistakes_are_shown_with_the_others_in_one_column(names: Answers) -> None:
    asked, evaluation = names.asked, names.asked.evaluation
    right = [evaluation.manifest.works[work] for work in evaluation.manifest.work[evaluation.query]]
    with torch.inference_mode():
        logits = asked.model.classify(*asked.inputs.at(evaluation.query, Device("cpu")))
    answered = [asked.info.works[row] for row in logits.argmax(dim=1)]
    mistakes = Counter(name for pair in zip(right, answered, strict=True) if pair[0] != pair[1] for name in pair)
    shown = sorted(set(right), key=lambda name: (-mistakes[name], name))[:30]
    slow = Counter(
        (one, other if other in shown else "others") for one, other in zip(right, answered, strict=True) if one in shown
    )
    figure = plot_confusion(names)
    assert {(one, other): count for one, other, count, _ in figure.rows} == slow
    assert "Shown are the 30 of 33 classes" in figure.caption


def test_what_is_pointed_at_are_the_drawn_fractions(rankings: Rankings) -> None:
    figure = plot_confusion(rankings)
    (squares,) = figure.interactive.data
    for right, answered, _, fraction in figure.rows:
        value = np.asarray(squares.z)[list(squares.y).index(right), list(squares.x).index(answered)]
        assert value == 100 * fraction
