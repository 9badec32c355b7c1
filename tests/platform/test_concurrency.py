"""How many trials run at a time: by CPUs and GPUs, and with `auto` by the memory of a measured step too."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from platform.concurrency import fit_to_memory, limited
from platform.display import print_header
from platform.plan import Plan
from platform.projection import Projection
from shards_tools.errors import Error
from shards_tools.processes import num_cpus
from trainables.one_step import OneStep

GB = 10**9


def test_memory_that_holds_two_lets_two_run_however_many_cpus_there_are(plan: Plan) -> None:
    found = limited(replace(plan, concurrency=8), 5 * GB, 2 * GB)
    assert found.concurrency == 2
    assert found.why_concurrency == "CPUs hold 8, memory 2: 2.0 GB each of the 5.0 GB that are free"
    assert limited(replace(plan, concurrency=8), 100 * GB, 2 * GB).concurrency == 8


def test_one_runs_where_one_was_measured(plan: Plan) -> None:
    assert limited(replace(plan, concurrency=8), 1 * GB, 2 * GB).concurrency == 1


def test_fewer_trials_of_the_papers_scale_have_more_cpus_each(plan: Plan) -> None:
    at_paper = replace(plan, scale="paper", gpus_per_rank=1.0, concurrency=4, cpus_per_rank=1)
    found = limited(at_paper, 3 * GB, 2 * GB)
    assert (found.concurrency, found.cpus_per_rank) == (1, num_cpus())
    assert "GPUs hold 4, memory 1:" in found.why_concurrency


def test_auto_begins_with_what_the_default_is(plan_of: Callable[..., Plan]) -> None:
    assert plan_of("--concurrency", "auto").concurrency == plan_of().concurrency == num_cpus()
    assert plan_of("--concurrency", 3).concurrency == 3
    with pytest.raises(Error, match="'some' is not a whole number of at least 1"):
        plan_of("--concurrency", "some")


def test_the_header_says_why(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    print_header(plan, 0, 0)
    assert f"{plan.concurrency} at a time.\n" in capsys.readouterr().err
    print_header(limited(replace(plan, concurrency=8), 5 * GB, 2 * GB), 0, 0)
    assert "; 2 at a time (CPUs hold 8, memory 2: 2.0 GB" in capsys.readouterr().err


@pytest.mark.slow
def test_a_step_of_the_largest_training_is_what_counts(
    plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of the small space takes between 0.3 and 2 GB, most of it torch."""
    monkeypatch.setattr("platform.concurrency.free_memory", lambda: 5 * GB)
    found = fit_to_memory(replace(plan_of("--concurrency", "auto"), concurrency=64))
    assert 2 <= found.concurrency <= 15


def test_the_cost_is_that_of_all_trials_whatever_runs_at_a_time(plan: Plan) -> None:
    """Ten trials of four epochs, 36 s an epoch: a hundredth of an hour each."""
    step = OneStep(
        step_s=1.0, batch_images=10, epoch_images=350, evaluate_s=1.0, evaluate_images=1, val_images=1, peak_bytes=1
    )
    for concurrency in (1, 5):
        wanted = replace(plan, trials=10, pruner="none", concurrency=concurrency)
        foreseen = Projection(
            plan=wanted, num_finished=0, num_running=0, largest=step, usual=step, pixel_bytes=1, memory_free_bytes=1
        )
        assert foreseen.trial_hours == pytest.approx(10 * 4 * 0.01)
        assert foreseen.hours == pytest.approx(10 * 4 * 0.01 / concurrency)
        assert foreseen.most_trial_hours == pytest.approx(0.4)
