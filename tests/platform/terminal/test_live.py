"""What people see in a terminal: a display that stays, lines of a log above it, and no terminal left in disorder."""

import io
import sys
import threading
import time
from collections.abc import Callable

import optuna
import pytest
from optuna.trial import TrialState

from platform import signals
from platform.resolved_search import ResolvedSearch
from platform.terminal import live
from platform.terminal.lines import Display, Lines
from platform.terminal.live import LiveScreen, StillConsole, board_of, screen_of_part, screen_of_search
from shards_tools.command import say
from tests.small_terminal import SmallTerminal

VALUES = {"mAP": 0.25, "loss": 1.5, "images_per_second": 123.4, "rss_mb": 1168.2}


@pytest.fixture
def study() -> optuna.Study:
    """Two rows set by hand wait in it."""
    study = optuna.create_study(direction="maximize")
    for row in ("paper row", "hand-set"):
        study.enqueue_trial({}, user_attrs={"baseline": row})
    return study


@pytest.fixture
def live_screen(
    quick_search: ResolvedSearch, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> tuple[LiveScreen, io.StringIO]:
    """A live display of the study, and what it writes."""
    monkeypatch.setattr(live, "LEAST_S", 0.01)
    written = io.StringIO()
    console = StillConsole(file=written, force_terminal=True, width=100, height=30)
    return LiveScreen(
        board_of(quick_search, rivals=True), lambda: (len(study.get_trials(states=(TrialState.PRUNED,))), 6), console
    ), written


def shown(written: io.StringIO) -> str:
    """Return the text on the terminal."""
    terminal = SmallTerminal()
    terminal.feed(written.getvalue())
    assert terminal.cursor_is_shown
    assert not terminal.cursor_was_hidden
    return terminal.text


def wait_for(written: io.StringIO, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in shown(written):
        assert time.monotonic() < deadline, f"{text!r} is not in\n{shown(written)}"
        time.sleep(0.01)


def test_the_log_stays_above_the_display_and_the_display_goes(
    live_screen: tuple[LiveScreen, io.StringIO], study: optuna.Study
) -> None:
    screen, written = live_screen
    with screen:
        first, second = study.ask(), study.ask()
        screen.start(first, 1, 0, 4)
        say("a warning")
        screen.report(first, 1, 4, VALUES, False)
        wait_for(written, "1/4")
        study.tell(first, state=TrialState.PRUNED)
        screen.end(first, TrialState.PRUNED, "pruned at epoch 1")
        screen.start(second, 1, 0, 4)
        say("one\ntwo")
        wait_for(written, "1 of 6")
        assert shown(written).startswith("a warning\n")
    assert shown(written).splitlines() == [
        "a warning",
        "trial 0 (paper row)        mAP 25.00 %  pruned at epoch 1",
        "one",
        "two",
        "trial 1 (hand-set)         left running after epoch 0/4, for the next start",
    ]


def test_ctrl_c_is_answered_within_the_display(live_screen: tuple[LiveScreen, io.StringIO]) -> None:
    screen, written = live_screen
    with screen:
        signals._tell("Stopping after the current epochs.")
        wait_for(written, "Stopping after the current epochs.")
    assert shown(written) == ""


class _Broken(io.StringIO):
    """A terminal that has gone."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_display_that_fails_leaves_lines_and_the_trials_alone(
    quick_search: ResolvedSearch, study: optuna.Study, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = LiveScreen(
        board_of(quick_search, rivals=True), lambda: (0, 6), StillConsole(file=_Broken(), force_terminal=True)
    )
    trial = study.ask()
    with screen:
        screen._thread.join(20)
        say("a warning")
        screen.start(trial, 1, 0, 4)
        screen.report(trial, 1, 4, VALUES, False)
        screen.end(trial, TrialState.FAIL, "a bug")
    assert capsys.readouterr().err.splitlines() == [
        "The live display has failed (OSError: [Errno 5] Input/output error). Continuing with plain lines.",
        "a warning",
        "trial 0 (paper row)        epoch   1/4  mAP 25.00 %  loss 1.500  123 images/s",
        "trial 0 (paper row)        failed: a bug",
    ]


def test_a_terminal_that_stands_still_stops_nobody(
    quick_search: ResolvedSearch, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()

    class Stopped(io.StringIO):
        def write(self, text: str) -> int:
            goes_on.wait(60)
            return len(text)

    monkeypatch.setattr(live, "CLOSING_S", 0.1)
    screen = LiveScreen(
        board_of(quick_search, rivals=True), lambda: (0, 6), StillConsole(file=Stopped(), force_terminal=True)
    )
    trial, before = study.ask(), time.monotonic()
    with screen:
        for _ in range(100):
            say("a warning")
            screen.report(trial, 1, 4, VALUES, False)
    assert time.monotonic() - before < 5
    goes_on.set()
    screen._thread.join(20)


@pytest.mark.parametrize(
    ("terminal", "environment"), [(False, {}), (True, {"TERM": "dumb"}), (True, {"CI": "true"})], ids=str
)
def test_where_nothing_can_be_drawn_there_are_lines(
    quick_search: ResolvedSearch,
    study: optuna.Study,
    monkeypatch: pytest.MonkeyPatch,
    terminal: bool,
    environment: dict[str, str],
) -> None:
    _set_terminal(monkeypatch, lambda: terminal, environment)
    assert type(screen_of_search(study, quick_search)) is Display
    assert type(screen_of_part(quick_search, lambda: (0, 0))) is Lines


def test_a_terminal_has_the_live_display(
    quick_search: ResolvedSearch, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_terminal(monkeypatch, lambda: True, {})
    assert type(screen_of_search(study, quick_search)) is LiveScreen
    assert type(screen_of_part(quick_search, lambda: (0, 0))) is LiveScreen


def _set_terminal(monkeypatch: pytest.MonkeyPatch, isatty: Callable[[], bool], environment: dict[str, str]) -> None:
    monkeypatch.delenv("CI", raising=False)
    for name, value in {"TERM": "xterm-256color", **environment}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys.stderr, "isatty", isatty, raising=False)


def test_lines_are_these(quick_search: ResolvedSearch, study: optuna.Study, capsys: pytest.CaptureFixture[str]) -> None:
    trial, other = study.ask(), study.ask()
    with Display(study, quick_search.goal) as lines:
        lines.start(trial, 1, 0, 4)
        lines.report(trial, 1, 4, VALUES, False)
        lines.report(trial, 2, 4, {**VALUES, "mAP": 0.2}, False)
        lines.died(trial, 1)
        lines.report(other, 1, 4, {**VALUES, "mAP": 0.1}, False)
        lines.end(trial, TrialState.FAIL, "a bug")
        lines.report(other, 2, 4, {**VALUES, "mAP": 0.1}, False)
        lines.report(other, 3, 4, {**VALUES, "mAP": 0.1}, True)
    assert capsys.readouterr().err == (
        "trial 0 (paper row)        epoch   1/4  mAP 25.00 %  loss 1.500  123 images/s  best 25.00 % (trial 0)\n"
        "trial 0 (paper row)        epoch   2/4  mAP 20.00 %  loss 1.500  123 images/s  best 20.00 % (trial 0)\n"
        "trial 0 (paper row)        its process died; attempt 2 resumes from the last checkpoint\n"
        "trial 1 (hand-set)         epoch   1/4  mAP 10.00 %  loss 1.500  123 images/s  best 20.00 % (trial 0)\n"
        "trial 0 (paper row)        failed: a bug\n"
        "trial 1 (hand-set)         epoch   2/4  mAP 10.00 %  loss 1.500  123 images/s  best 10.00 % (trial 1)\n"
        "trial 1 (hand-set)         epoch   3/4  mAP 10.00 %  loss 1.500  123 images/s  pruned\n"
    )
