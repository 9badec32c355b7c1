"""How many trials run at a time: by CPUs and GPUs, and with `auto` by the memory of a measured step too."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from platform.execution import placement
from platform.preflight.concurrency import fit_to_memory, packed
from platform.preflight.estimate import Projection, free_memory
from platform.resolved_search import ResolvedSearch
from platform.resources import Machine, TrialResources
from platform.terminal.lines import print_header
from shards_tools.errors import Error
from shards_tools.parallel import num_cpus
from tests.platform.searches import changed
from trainables.profiling.measure_step import OneStep
from trainables.profiling.resource_usage import share_bytes

GB = 10**9


STEP = OneStep(peak_bytes=2 * GB)
ON_GPU = OneStep(peak_bytes=2 * GB, gpu_bytes=15 * GB, gpu_total_bytes=80 * GB)


def alone(
    search: ResolvedSearch, num_cpus: int, room: int, *, num_gpus: float = 0, shares: bool = False, step: OneStep = STEP
) -> TrialResources:
    """What the trials of a search hold on one machine."""
    machines, scale = [Machine(num_cpus, num_gpus)], search.setup.scale
    return packed(search.resources, step, machines, [room], scale=scale, shares_gpus=shares)


def test_memory_that_holds_two_lets_two_run_however_many_cpus_there_are(search: ResolvedSearch) -> None:
    found = alone(search, 8, 5 * GB)
    assert found.concurrency == 2
    assert found.why_concurrency == "CPUs allow 8, memory 2: 2.0 GB each of 5.0 GB free"
    assert alone(search, 8, 100 * GB).concurrency == 8


def test_one_runs_where_one_was_measured(search: ResolvedSearch) -> None:
    assert alone(search, 8, 1 * GB).concurrency == 1


def test_fewer_trials_of_the_papers_scale_have_more_cpus_each(search: ResolvedSearch) -> None:
    at_paper = changed(search, scale="paper", gpus_per_rank=1.0)
    found = alone(at_paper, 8, 3 * GB, num_gpus=4, step=ON_GPU)
    assert (found.concurrency, found.cpus_per_rank) == (1, 8)
    assert "GPUs allow 4, memory 1:" in found.why_concurrency


def test_memory_of_one_machine_holds_no_trial_of_another(search: ResolvedSearch) -> None:
    """Seven and a half trials in all, but no half on two machines."""
    machines = [Machine(8, 0), Machine(2, 0)]
    found = packed(search.resources, STEP, machines, [7 * GB, 8 * GB], scale="tiny", shares_gpus=False)
    assert found.concurrency == 3 + 2
    assert found.memory_per_rank == 0


def test_on_a_cluster_ray_sets_memory_aside(search: ResolvedSearch) -> None:
    nodes = [Machine(8, 0, node_id="a"), Machine(2, 0, node_id="b")]
    found = packed(search.resources, STEP, nodes, [7 * GB, 8 * GB], scale="tiny", shares_gpus=False)
    assert placement(found).bundles == [{"CPU": 1, "memory": 2 * GB}]
    assert "memory" not in placement(search.resources).bundles[0]


@pytest.mark.parametrize(
    ("gpu_gb", "cpus", "gpus", "num_sharing"),
    [
        (15, 32, 1, 4),  # five would fit, four are the most
        (25, 32, 1, 3),
        (39, 32, 1, 2),
        (39.5, 32, 1, 1),  # two contexts more than there is room for
        (79, 32, 1, 1),
        (15, 4, 2, 2),  # a CPU each
        (15, 1, 1, 1),
    ],
)
def test_as_many_trials_share_a_gpu_as_its_memory_holds_with_their_contexts(
    search: ResolvedSearch, gpu_gb: float, cpus: int, gpus: int, num_sharing: int
) -> None:
    step = replace(ON_GPU, gpu_bytes=int(gpu_gb * GB))
    at_paper = changed(search, scale="paper", gpus_per_rank=1.0)
    found = alone(at_paper, cpus, 999 * GB, num_gpus=gpus, shares=True, step=step)
    assert found.concurrency == num_sharing * gpus
    assert num_sharing * found.gpus_per_rank <= 1 < (num_sharing + 1) * found.gpus_per_rank
    assert share_bytes(found.gpus_per_rank, step.gpu_total_bytes) >= step.gpu_bytes
    assert (f"{num_sharing} share a GPU" in found.why_concurrency) == (num_sharing > 1)
    asked_for = alone(changed(at_paper, gpus_per_rank=0.5), 32, 999 * GB, num_gpus=1, step=step)
    assert (asked_for.concurrency, asked_for.gpus_per_rank) == (2, 0.5)


def test_auto_begins_with_what_the_default_is(search_of: Callable[..., ResolvedSearch]) -> None:
    assert search_of("--concurrency", "auto").resources == search_of().resources
    assert search_of().resources.concurrency == num_cpus()
    assert search_of("--concurrency", 3).resources.concurrency == 3
    with pytest.raises(Error, match="'some' is not an integer >= 1"):
        search_of("--concurrency", "some")


def test_the_header_says_why(search: ResolvedSearch, capsys: pytest.CaptureFixture[str]) -> None:
    print_header(search, 0, 0)
    assert f"{search.resources.concurrency} at a time.\n" in capsys.readouterr().err
    print_header(replace(search, resources=alone(search, 8, 5 * GB)), 0, 0)
    assert "; 2 at a time (CPUs allow 8, memory 2: 2.0 GB" in capsys.readouterr().err


@pytest.mark.slow
def test_a_step_of_the_largest_training_is_what_counts_and_is_remembered(
    search_of: Callable[..., ResolvedSearch], capsys: pytest.CaptureFixture[str]
) -> None:
    """A step of the small space takes between 0.3 and 2 GB, most of it torch."""
    wanted, machines = search_of("--concurrency", "auto"), [Machine(64, 0)]
    measured = fit_to_memory(wanted, machines, shares_gpus=True, remembers=False)
    assert not wanted.stores.folder.exists()
    first = fit_to_memory(wanted, machines, shares_gpus=True, remembers=True)
    for found in (measured, first):
        assert free_memory() / 2.5 / GB < found.concurrency <= 64
    assert "Measuring a step" in capsys.readouterr().err
    again = fit_to_memory(wanted, machines, shares_gpus=True, remembers=True)
    assert "Measuring a step" not in capsys.readouterr().err
    assert "GB each" in again.why_concurrency
    assert again.why_concurrency.split(" each")[0].split()[-2:] == first.why_concurrency.split(" each")[0].split()[-2:]
    (wanted.stores.folder / "measured.json").write_text("torn {")
    assert fit_to_memory(wanted, machines, shares_gpus=True, remembers=True).concurrency >= 1
    assert "Measuring a step" in capsys.readouterr().err


def test_the_cost_is_that_of_all_trials_whatever_runs_at_a_time(search: ResolvedSearch) -> None:
    """Ten trials of four epochs, 36 s an epoch: a hundredth of an hour each."""
    step = OneStep(
        step_s=1.0, batch_images=10, epoch_images=350, evaluate_s=1.0, evaluate_images=1, val_images=1, peak_bytes=1
    )
    for concurrency in (1, 5):
        wanted = changed(search, trials=10, pruner="none", concurrency=concurrency)
        foreseen = Projection(
            search=wanted, num_finished=0, num_running=0, largest=step, usual=step, pixel_bytes=1, memory_free_bytes=1
        )
        assert foreseen.trial_hours == pytest.approx(10 * 4 * 0.01)
        assert foreseen.hours == pytest.approx(10 * 4 * 0.01 / concurrency)
        assert foreseen.most_trial_hours == pytest.approx(0.4)
