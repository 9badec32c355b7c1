"""The live display of a search in terminals of several sizes."""

import io
from dataclasses import replace
from typing import Any

import pytest
from optuna.trial import TrialState
from rich.console import Console

from platform.resolved_search import ResolvedSearch
from platform.terminal.board import Board, Named
from platform.terminal.live import board_of
from platform.terminal.picture import clock, picture, settings_in_short, spoken
from tests.platform.searches import changed
from tests.small_terminal import SmallTerminal

PAPER = Named(0, "trial 0 (paper row)", "paper row", {"lr": 1e-4}, False, True)
DRAWN = Named(3, "trial 3", "", {"erase_probability": 0.5, "lr": 0.00314159}, False, False)
VALUES = {"mAP": 0.25, "loss": 1.5, "images_per_second": 123.4, "rss_mb": 1168.2}


@pytest.fixture
def board(quick_search: ResolvedSearch) -> Board:
    """Of a search of six trials, two at a time, of which one has ended, and of the running ones one has reported."""
    board = board_of(changed(quick_search, concurrency=2, chance={"mAP": 0.2}), rivals=True)
    board.count(1, 6)
    board.start(PAPER, 1, (0, 4), {}, now=0.0)
    board.start(DRAWN, 2, (1, 4), VALUES, now=0.0)
    board.report(PAPER, 1, VALUES, now=30.0)
    return board


def lines_of(board: Board, width: int = 100, height: int = 30, now: float = 45.0, **times: Any) -> list[str]:
    """The picture as a person reads it."""
    times = {"passed_s": 45.0, "hours_left_s": None, **times}
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    console.print(picture(board, width=width, height=height, now=now, **times))
    terminal = SmallTerminal()
    terminal.feed(console.file.getvalue())
    return terminal.text.splitlines()


def test_trials_best_and_bar_are_shown(board: Board) -> None:
    """Left: three epochs each for two that run, then three trials of four epochs in two places; 30 s an epoch."""
    board.leader.report(DRAWN, 0.26)
    assert lines_of(board) == [
        "",
        "running                        epoch     mAP %      loss  images/s   host MB    silent",
        "trial 0 (paper row)              1/4     25.00     1.500       123      1168      0:15",
        "trial 3, attempt 2               1/4     25.00     1.500       123      1168      0:45",
        "",
        "best so far  mAP 26.00 %  trial 3  erase_probability=0.5  lr=0.00314",
        "compared to  chance 20.00 %   paper row 25.00 %",
        "━━━━━━━━━━╺━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  1 of 6 trials  0:45 passed  about 5 min left",
    ]


def test_a_training_without_a_metric_shows_its_loss(quick_search: ResolvedSearch) -> None:
    board = board_of(changed(quick_search, objectives=("loss",), chance={}), rivals=False)
    board.count(0, 1)
    board.start(DRAWN, 1, (0, 4), {}, now=0.0)
    board.report(DRAWN, 4, {name: value for name, value in VALUES.items() if name != "mAP"}, now=30.0)
    assert lines_of(board)[1:3] == [
        "running                                epoch      loss  images/s   host MB    silent",
        "trial 3                                  4/4     1.500       123      1168      0:15",
    ]
    assert board.end(DRAWN, TrialState.COMPLETE, "").plain.endswith(" loss   1.500  complete, 4 epochs")


def test_a_narrow_terminal_has_fewer_columns(board: Board) -> None:
    lines = lines_of(board, width=60, height=24)
    assert max(map(len, lines)) <= 60
    assert lines[1].split() == ["running", "epoch", "mAP", "%", "loss"]
    assert lines[-1].endswith("1 of 6 trials  0:45 passed  about 5 min left")


@pytest.mark.parametrize(("width", "height", "shown"), [(100, 30, 16), (80, 24, 11), (60, 24, 11), (80, 10, 1)])
def test_many_trials_are_cut(board: Board, width: int, height: int, shown: int) -> None:
    board.rows.clear()
    for number in range(100):
        name = Named(number, f"trial {number} (paper {'long ' * 20})", "", {"name": "x" * 200}, False, False)
        board.start(name, 1, (0, 9), {}, now=0.0)
    board.leader.report(name, 0.26)
    lines = lines_of(board, width, height)
    assert sum(line.startswith("trial ") for line in lines) == shown
    assert f"and {100 - shown} more" in lines
    assert len(lines) < height
    assert max(map(len, lines)) <= width


def test_gpu_memory_and_costs_have_columns_where_there_are_any(board: Board) -> None:
    board.goal = replace(board.goal, objectives=("mAP", "num_parameters"))
    board.report(PAPER, 2, {**VALUES, "gpu_mb": 2048.0, "num_parameters": 1_230_000}, now=40.0)
    lines = lines_of(board, width=120)
    assert lines[1].split("  ")[-1].strip() == "silent"
    assert "GPU MB" in lines[1]
    assert "num_par…" in lines[1] or "num_parameters" in lines[1]
    assert "2048" in lines[2]
    assert "1.23 M" in lines[2]


def test_hours_end_a_search_sooner(board: Board) -> None:
    assert lines_of(board, hours_left_s=60.0)[-1].endswith("about 1 min left")
    assert lines_of(board, hours_left_s=6000.0)[-1].endswith("about 5 min left")


def test_hours_of_gpus_end_a_search_sooner(board: Board) -> None:
    """The trials have reported 30 s of training, and each has half a GPU."""
    board.resources = replace(board.resources, gpus_per_rank=0.5)
    board.budget = replace(board.budget, gpu_hours=0.5 * (30 + 120 + 120) / 3600)
    assert lines_of(board)[-1].endswith("about 2 min left")
    board.budget = replace(board.budget, gpu_hours=0.5 * 20 / 3600)
    assert lines_of(board)[-1].endswith("about 5 s left")


def test_before_the_first_epoch_the_time_left_is_unknown(quick_search: ResolvedSearch) -> None:
    board = board_of(quick_search, rivals=True)
    board.count(0, 6)
    board.start(PAPER, 1, (0, 4), {}, now=0.0)
    lines = lines_of(board)
    assert lines[-1].endswith("time left unknown")
    assert "best so far  none yet" in lines


def test_an_epoch_after_the_first_is_taken_to_be_as_long_as_the_others(board: Board) -> None:
    """The first took 100 s, as its process started; the second 10 s, and two are left."""
    board.rows.clear()
    board.count(5, 6)
    board.start(PAPER, 1, (0, 4), {}, now=0.0)
    board.report(PAPER, 1, VALUES, now=100.0)
    assert board.seconds_left(100.0) == 300.0
    board.report(PAPER, 2, VALUES, now=110.0)
    assert board.seconds_left(110.0) == 20.0


def test_trainings_after_a_search_are_no_rivals(board: Board) -> None:
    board.rivals = False
    lines = lines_of(board)
    assert not any(line.startswith(("best", "compared")) for line in lines)
    assert "1 of 6 trainings" in lines[-1]


def test_each_end_is_a_line_that_says_why(board: Board) -> None:
    assert board.died(PAPER, 1).plain == (
        "trial 0 (paper row)        its process died; attempt 2 resumes from the last checkpoint"
    )
    board.start(PAPER, 2, (1, 4), VALUES, now=50.0)
    board.report(PAPER, 4, {**VALUES, "mAP": 0.5}, now=60.0)
    told = [
        board.end(PAPER, TrialState.COMPLETE, "").plain,
        board.end(DRAWN, TrialState.PRUNED, "pruned at epoch 1").plain,
        board.end(replace(DRAWN, number=4, label="trial 4"), TrialState.FAIL, "a bug").plain,
    ]
    assert told == [
        "trial 0 (paper row)        mAP 50.00 %  complete, 4 epochs  the best so far",
        "trial 3                    mAP 25.00 %  pruned at epoch 1",
        "trial 4                    failed: a bug",
    ]
    assert lines_of(board)[-2:] == [
        "compared to  chance 20.00 %   paper row 50.00 %   1 failed",
        "━━━━━━━━━━━━━━━━━━━━╺━━━━━━━━━━━━━━━━━━━  3 of 6 trials  0:45 passed  about 20 s left",
    ]


def test_a_trial_stands_with_its_last_epoch_and_not_at_all_once_it_is_pruned(board: Board) -> None:
    assert board.leader.best == (0.25, PAPER)  # DRAWN has as much, and began later
    board.report(DRAWN, 2, {**VALUES, "mAP": 0.9}, now=40.0)
    assert board.leader.best == (0.9, DRAWN)
    board.report(DRAWN, 3, {**VALUES, "mAP": 0.3}, now=50.0)
    assert board.leader.best == (0.3, DRAWN)
    assert board.papers_leader.best == (0.25, PAPER)
    board.end(DRAWN, TrialState.PRUNED, "pruned at epoch 3")
    assert board.leader.best == (0.25, PAPER)
    board.end(PAPER, TrialState.FAIL, "a bug")
    assert board.leader.best is board.papers_leader.best is None


def test_a_trial_over_a_limit_is_not_the_best(board: Board) -> None:
    board.report(replace(DRAWN, is_over_limit=True), 2, {**VALUES, "mAP": 0.9}, now=50.0)
    assert board.leader.best == (0.25, PAPER)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (65, "1:05"), (3605, "1:00:05"), (90_000, "25:00:00")])
def test_time_that_has_passed_is_written_as_on_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "5 s"),
        (33, "35 s"),
        (58, "1 min"),
        (3500, "58 min"),
        (3600, "1 h 0 min"),
        (5400, "1 h 30 min"),
        (200_000, "2 d 7 h"),
    ],
)
def test_time_that_is_guessed_is_written_roughly(seconds: float, text: str) -> None:
    assert spoken(seconds) == text


def test_settings_are_short() -> None:
    assert settings_in_short({"lr": 0.000123456, "jpm": False, "backbone": "b" * 99}) == (
        f"lr=0.000123  jpm=False  backbone={'b' * 24}"
    )
