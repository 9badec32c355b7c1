"""Parts of a training are timed warm, with a clock that the tests advance by hand."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from shards_tools.images import DecodedImages
from shards_tools.manifest import Manifest
from trainables.device import Device
from trainables.profiling.timing import RepeatedImages, Timer, time_steps

LOAD_S, LAUNCH_S, WORK_S, FIRST_S = 0.25, 0.125, 0.5, 20.0


class Machine:
    """A host, and a device that works behind it; the host waits only where it synchronizes."""

    def __init__(self) -> None:
        self.host_s = self.device_s = 0.0
        self.num_waits = 0

    def clock(self) -> float:
        return self.host_s

    def spend(self, seconds: float) -> None:
        self.host_s += seconds

    def launch(self, seconds: float) -> None:
        self.host_s += LAUNCH_S
        self.device_s = max(self.device_s, self.host_s) + seconds

    def synchronize(self, device: object = None) -> None:
        self.num_waits += 1
        self.host_s = max(self.host_s, self.device_s)


def one_batch(machine: Machine) -> Any:
    """An epoch of one batch."""

    def start(workers: int) -> Iterator[Any]:
        machine.spend(LOAD_S)
        yield SimpleNamespace(to=lambda device: SimpleNamespace(augmented=lambda recipe: "a batch"))

    return SimpleNamespace(start=start)


def training_of(run: Callable[[], None], *, compiled: bool = False, device: str = "cpu") -> Any:
    """A training whose step calls `run`."""
    module = SimpleNamespace(train=lambda: None)
    return SimpleNamespace(
        model=module,
        criterion=module,
        optimizer=SimpleNamespace(param_groups=[]),
        recipe=SimpleNamespace(compiled=compiled),
        device=Device(device),
        step=lambda *_: run(),
        averaged=None,
    )


@pytest.mark.parametrize("compiled", [False, True])
def test_a_slow_first_step_counts_as_warm_up_and_not_as_a_step(compiled: bool) -> None:
    """An epoch has fewer batches than are measured."""
    machine = Machine()
    steps = iter([FIRST_S])
    training = training_of(lambda: machine.spend(next(steps, WORK_S)), compiled=compiled)
    times = time_steps(training, one_batch(machine), Timer(machine.clock, training.device))
    assert (times.load_s, times.step_s) == (LOAD_S, WORK_S)
    assert times.warm_up_s == FIRST_S - WORK_S


def test_the_work_of_a_step_on_a_gpu_is_timed_and_not_its_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    monkeypatch.setattr(torch.cuda, "synchronize", machine.synchronize)
    training = training_of(lambda: machine.launch(WORK_S), device="cuda")
    times = time_steps(training, one_batch(machine), Timer(machine.clock, training.device))
    assert times.load_s == LOAD_S
    # the window has one launch in advance of the work
    assert WORK_S < times.step_s < WORK_S + LAUNCH_S
    assert machine.num_waits == 2 * 4  # at both ends of two windows of the warm-up, of loading, and of the steps


def test_a_part_is_repeated_for_the_time_given_or_as_often_as_allowed() -> None:
    machine = Machine()
    timer = Timer(machine.clock, Device("cpu"))
    assert timer.repeat(lambda: machine.spend(0.5), at_least_s=2.0) == (2.0, 4)
    assert timer.repeat(lambda: machine.spend(0.5), at_least_s=2.0, most=3) == (1.5, 3)
    assert timer.repeat(lambda: machine.spend(5.0), at_least_s=2.0) == (5.0, 1)
    assert timer.once(lambda: machine.spend(0.5)) == timer.mean(lambda: machine.spend(0.5)) == 0.5


def test_images_in_memory_are_read_as_decoded_ones(manifest: Manifest) -> None:
    decoded, some = DecodedImages(manifest, 8, 8), np.arange(5)
    repeated, indices = RepeatedImages(decoded[some]), np.array([3, 8, 0])
    assert np.array_equal(repeated[indices], decoded[np.array([3, 3, 0])])
    assert np.array_equal(repeated.views(indices), decoded.views(np.array([3, 3, 0])))
