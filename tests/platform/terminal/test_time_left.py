"""How long a search will still take, on cases that can be counted by hand."""

import pytest

from platform.terminal.time_left import Pace, seconds_left


def pace(
    epoch: int, *, epochs: int = 10, is_pruned: bool = True, epoch_s: float | None = 6.0, since_s: float = 0.0
) -> Pace:
    return Pace(epoch=epoch, epochs=epochs, is_pruned=is_pruned, epoch_s=epoch_s, since_s=since_s)


def left(
    *running: Pace, lengths: tuple[int, ...] = (), waiting: int = 0, at_a_time: int = 1, epoch_s: float | None = 6.0
):
    return seconds_left(running, lengths, num_waiting=waiting, at_a_time=at_a_time, epochs=10, epoch_s=epoch_s)


def test_before_any_epoch_nobody_knows() -> None:
    assert left(pace(0, epoch_s=None), waiting=5, epoch_s=None) is None


def test_one_trial_takes_its_epochs_that_are_left() -> None:
    assert left(pace(4)) == 6 * 6.0


def test_trials_that_wait_follow_one_another() -> None:
    assert left(pace(4), waiting=2) == (6 + 10 + 10) * 6.0


def test_two_at_a_time_take_half_as_long() -> None:
    """The first place is free after 2 epochs and takes the first that waits, the second after 5 the other one."""
    assert left(pace(8), pace(5), waiting=2, at_a_time=2) == max(2 + 10, 5 + 10) * 6.0


def test_a_free_place_is_taken_at_once() -> None:
    assert left(pace(0), waiting=1, at_a_time=2) == 10 * 6.0


def test_trials_that_wait_are_as_long_as_those_that_ended() -> None:
    """Of four that were drawn three were pruned after 2 epochs."""
    assert left(lengths=(2, 2, 2, 10), waiting=4) == 4 * 4 * 6.0


def test_who_has_come_further_than_the_pruned_ones_is_no_longer_taken_for_one_of_them() -> None:
    lengths = (2, 2, 6, 10)
    assert left(pace(1), lengths=lengths) == (5 - 1) * 6.0
    assert left(pace(2), lengths=lengths) == (8 - 2) * 6.0
    assert left(pace(6), lengths=lengths) == (10 - 6) * 6.0


def test_a_row_set_by_hand_runs_to_its_end() -> None:
    assert left(pace(1, is_pruned=False), lengths=(2, 2, 2)) == 9 * 6.0


def test_a_slow_trial_is_as_slow_as_it_has_been() -> None:
    assert left(pace(4, epoch_s=60.0)) == 6 * 60.0


def test_a_trial_without_a_report_is_as_slow_as_the_mean() -> None:
    assert left(pace(0, epoch_s=None)) == 10 * 6.0


@pytest.mark.parametrize(("since_s", "done"), [(1.5, 0.25), (6.0, 1.0), (600.0, 1.0)])
def test_an_epoch_under_way_is_at_most_done(since_s: float, done: float) -> None:
    assert left(pace(4, since_s=since_s)) == (6 - done) * 6.0


def test_nothing_left_is_no_time() -> None:
    assert left() == 0.0
