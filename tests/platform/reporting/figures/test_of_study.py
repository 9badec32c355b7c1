"""Figures of a study show what its trials reported, as Optuna or a slow loop computes it."""

import itertools
import math
import xml.etree.ElementTree as tree

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from platform.read_only_study import StoredStudy
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.front import plot_front
from platform.reporting.figures.history import plot_history
from platform.reporting.figures.importances import plot_importances
from platform.reporting.figures.learning_curves import plot_learning_curves
from platform.reporting.figures.parallel_coordinates import place_on_axis, plot_parallel_coordinates
from platform.reporting.figures.per_fold import plot_per_fold
from platform.reporting.figures.slices import plot_slices
from platform.reporting.figures.timeline import plot_timeline
from platform.reporting.gather import gather
from platform.reporting.subject import subject_of
from shards_tools.errors import Error
from tests.platform.stored_by_hand import TRIALS, stored_by_hand, study_by_hand


@pytest.fixture(scope="module")
def stored() -> StoredStudy:
    """Nine trials: five complete, two pruned, one failed, one running."""
    return stored_by_hand()


def column(figure: Figure, name: str) -> list:
    return [row[figure.columns.index(name)] for row in figure.rows]


def test_learning_curves_are_the_reported_values(stored: StoredStudy) -> None:
    figure = plot_learning_curves(stored)
    expected = [
        (number, epoch, value)
        for number, (*_, values, _) in enumerate(TRIALS)
        for epoch, value in enumerate(values, start=1)
    ]
    assert [(trial, epoch, value) for trial, _, epoch, value in figure.rows] == expected
    drawn = {tuple(np.round(line.get_ydata(), 9)) for line in figure.plot.axes[0].lines}
    assert drawn == {tuple(np.round(np.multiply(values, 100), 9)) for *_, values, _ in TRIALS if values}
    explored = {tuple(np.round(curve.y, 9)) for curve in figure.interactive.data}
    assert explored == drawn


def test_each_kind_of_trial_has_a_word_in_the_curves(stored: StoredStudy) -> None:
    figure = plot_learning_curves(stored)
    assert dict(zip(column(figure, "trial"), column(figure, "kind"), strict=True)) == {
        0: "paper row",
        1: "set by hand",
        2: "pruned",
        3: "best",
        4: "complete",
        5: "complete",
        6: "pruned",
        8: "running",
    }
    named = {text.get_text() for text in figure.plot.axes[0].get_legend().get_texts()}
    assert named == {"best: trial 3", "paper ViT-Base", "hand-set", "complete", "pruned", "running"}


def test_importances_are_optunas_own(stored: StoredStudy) -> None:
    figure = plot_importances(stored)
    own = optuna.importance.get_param_importances(stored.study)
    assert dict(figure.rows) == own
    assert column(figure, "importance") == sorted(own.values(), reverse=True)
    bars = figure.plot.axes[0].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([100 * part for part in column(figure, "importance")])


def test_few_complete_trials_have_no_importances() -> None:
    with pytest.raises(Error, match="4 trials are complete"):
        plot_importances(stored_by_hand(trials=TRIALS[:5]))


def test_slices_have_each_trial_at_its_setting(stored: StoredStudy) -> None:
    figure = plot_slices(stored)
    for name in ("optimizer", "sgd_lr", "adamw_lr", "drop_path"):
        told = {
            number: trial.params[name]
            for number, trial in enumerate(stored.study.trials)
            if name in trial.params and trial.intermediate_values
        }
        assert {row[1]: row[3] for row in figure.rows if row[0] == name} == told


@pytest.mark.parametrize(
    ("distribution", "setting", "place"),
    [
        (FloatDistribution(1e-4, 1e-2, log=True), 1e-3, 0.5),
        (FloatDistribution(0.0, 0.4), 0.1, 0.25),
        (IntDistribution(2, 6), 3, 0.25),
        (IntDistribution(3, 3), 3, 0.5),
        (CategoricalDistribution(("a", "b", "c")), "b", 0.5),
        (CategoricalDistribution((None,)), None, 0.5),
    ],
)
def test_a_setting_lies_on_its_axis_where_its_range_says(distribution, setting, place) -> None:
    assert place_on_axis(distribution, setting) == pytest.approx(place)


def test_a_line_through_parameters_has_a_gap_where_one_was_not_asked_for(stored: StoredStudy) -> None:
    figure = plot_parallel_coordinates(stored)
    for row in figure.rows:
        values = dict(zip(figure.columns, row, strict=True))
        assert (values["sgd_lr"] == "") == (values["optimizer"] == "adamw")


@pytest.mark.parametrize("num_objectives", [2, 3])
def test_the_front_is_what_no_other_beats(num_objectives: int) -> None:
    objectives = ["mAP", "num_parameters", "ms_per_image"][:num_objectives]
    study = optuna.create_study(directions=["maximize", *["minimize"] * (num_objectives - 1)])
    study.set_user_attr("search", {"objective": " ".join(objectives)})
    for values in np.random.default_rng(0).integers(1, 9, (30, num_objectives)) / 10:
        study.add_trial(create_trial(values=values.tolist()))
    signs = [1, -1, -1][:num_objectives]
    told = [[sign * value for sign, value in zip(signs, trial.values, strict=True)] for trial in study.trials]

    def beaten(own: list[float]) -> bool:
        return any(all(a >= b for a, b in zip(other, own, strict=True)) and other != own for other in told)

    figure = plot_front(StoredStudy(study=study))
    assert [bool(on) for on in column(figure, "on the front")] == [not beaten(own) for own in told]


def test_the_best_so_far_is_a_running_maximum_of_complete_trials() -> None:
    better = ("sgd", 0.09, 0.3, (0.9,), TrialState.PRUNED)
    trials = (TRIALS[0], better, *TRIALS[1:])
    best = -math.inf
    for trial, _, value, so_far in plot_history(stored_by_hand(trials=trials)).rows:
        if trials[trial][4] == TrialState.COMPLETE:
            best = max(best, value)
        assert so_far == best


def test_the_timeline_has_every_trial_from_start_to_end(stored: StoredStudy) -> None:
    figure = plot_timeline(stored)
    assert column(figure, "trial") == list(range(len(TRIALS)))
    assert column(figure, "start_s") == [60 * number for number in range(len(TRIALS))]
    ends = [60 * number + 120 * len(values) for number, (*_, values, _) in enumerate(TRIALS)]
    last = max(end for end, (*_, state) in zip(ends, TRIALS, strict=True) if state != TrialState.RUNNING)
    ends = [last if state == TrialState.RUNNING else end for end, (*_, state) in zip(ends, TRIALS, strict=True)]
    assert column(figure, "end_s") == ends


def test_folds_show_each_candidate_on_each_fold() -> None:
    study = study_by_hand()
    candidates = [create_trial(value=0.3, user_attrs={"trial": number}) for number in (3, 0)]
    trainings = [
        create_trial(
            value=0.1 * fold,
            user_attrs={"of": of, "training": {"fold": fold, "seed": 0}, "metrics": {"mAP": 0.1 * fold, "mINP": 0.01}},
        )
        for of, fold in itertools.product((3, 0), (1, 2))
    ]
    figure = plot_per_fold(StoredStudy(study=study, candidates=candidates, fold_trainings=trainings))
    assert figure.columns == ("trial", "fold", "mAP", "mINP")
    assert [row[:3] for row in figure.rows] == [
        (3, 0, 0.4), (3, 1, 0.1), (3, 2, 0.2), (0, 0, 0.25), (0, 1, 0.1), (0, 2, 0.2),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def strange() -> list[Figure]:
    """All figures of a study whose choices are markup, formulas and long words."""
    choices = ("<script>alert(1)</script>", "$\\frac{$", "a" * 200)
    study = study_by_hand()
    for place, choice in enumerate(choices * 2):
        study.add_trial(
            create_trial(
                value=0.1 * place,
                params={"<b>$": choice},
                distributions={"<b>$": CategoricalDistribution(choices)},
                intermediate_values={1: 0.1 * place},
                user_attrs={"metrics": {"mAP": 0.1 * place}, "baseline": "paper $x_ <i>"},
            )
        )
    for trial in study.get_trials(deepcopy=False):
        trial.datetime_start = trial.datetime_start or trial.datetime_complete
    return gather(subject_of(StoredStudy(study=study), None)).figures


@pytest.mark.slow
def test_names_are_drawn_as_they_stand(strange: list[Figure]) -> None:
    names = {figure.name for figure in strange}
    assert names == {
        "learning_curves", "importances", "slices", "parallel_coordinates", "history", "timeline",
    }  # fmt: skip
    for figure in strange:
        root = tree.fromstring(figure.as_svg())
        assert not [node for node in root.iter() if node.tag.endswith("script")]


def test_plotly_is_told_no_markup(strange: list[Figure]) -> None:
    for figure in strange:
        if figure.interactive is not None:
            assert "<script" not in figure.interactive.to_json()
            assert "<i>" not in figure.interactive.to_json()


def test_a_study_without_trials_has_no_figures() -> None:
    assert gather(subject_of(stored_by_hand(trials=()), None)).figures == []


def test_a_running_trial_is_never_drawn_beyond_what_is_known() -> None:
    figure = plot_timeline(stored_by_hand(trials=TRIALS[8:]))
    assert column(figure, "end_s") == [0.0]
