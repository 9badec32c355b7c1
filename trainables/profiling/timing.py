"""Time the parts of a training, each alone and warm: loading, steps, evaluation and checkpoints.

A GPU works behind the host. The device is therefore synchronized at both ends of every timed window, and only there.
"""

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from shards_tools.images import DecodedImages
from trainables.data.batches import Batch, EpochBatches
from trainables.data.reading import Inputs
from trainables.device import Device
from trainables.evaluation.evaluate import evaluate, ms_per_image, network_of
from trainables.models.model import Features, Model, Outputs
from trainables.training.optimizer import set_learning_rate
from trainables.training.schedule import Moment
from trainables.training.train_state import TrainState

Clock = Callable[[], float]  # seconds, like time.perf_counter

# The first steps compile, benchmark convolutions and allocate memory. If they are slow, fewer of them suffice.
WARM_UP_STEPS, WARM_UP_S = 5, 5.0
TIMED_S = 0.5  # each part is repeated this long; it runs at least once
BATCHES_IN_MEMORY = 4  # the timed steps train on these in turn


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """The seconds of a training step."""

    load_s: float  # read or decode the images of a batch, and augment them
    step_s: float  # copy a batch to the device, forward, losses, backward, optimizer update
    warm_up_s: float  # by how much the first steps of a training exceed these, in all


@dataclass(frozen=True, kw_only=True)
class EvaluationTimes:
    """The seconds of an evaluation."""

    load_s: float  # of a batch
    forward_s: float  # of a batch
    num_images: int  # in that batch
    metrics_s: float  # of all val images
    latency_s: float  # to measure the latency, once per training


class Timer:
    """Times work on a device."""

    def __init__(self, clock: Clock, device: Device) -> None:
        self._clock, self._device = clock, device

    def now(self) -> float:
        """Return the clock's time after all launched operations have finished."""
        self._device.synchronize()
        return self._clock()

    def repeat(self, run: Callable[[], object], at_least_s: float, most: int | None = None) -> tuple[float, int]:
        """Call `run` for `at_least_s`, but at most `most` times; return the seconds of all calls, and their number."""
        start = self.now()
        for num_calls in itertools.count(1):
            run()
            if num_calls == most or self._clock() - start >= at_least_s:
                break
        return self.now() - start, num_calls

    def mean(self, run: Callable[[], object]) -> float:
        """Return the mean seconds of calls that are repeated for TIMED_S."""
        seconds, num_calls = self.repeat(run, TIMED_S)
        return seconds / num_calls

    def once(self, run: Callable[[], object]) -> float:
        """Return the seconds of one call."""
        return self.repeat(run, 0.0)[0]


class RepeatedImages(DecodedImages):
    """A few images in memory in place of all decoded images of a manifest, so that measuring fills no cache."""

    def __init__(self, images_NHWC: np.ndarray) -> None:
        self._pixels = images_NHWC

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return super().__getitem__(indices % len(self._pixels))

    def views(self, indices: np.ndarray) -> list[np.ndarray]:
        return list(super().views(indices % len(self._pixels)))

    def gather(self, indices: np.ndarray, images_BHWC: np.ndarray) -> None:
        super().gather(indices % len(self._pixels), images_BHWC)


def time_steps(training: TrainState, batches: EpochBatches, timer: Timer) -> StepTimes:
    """Time loading and training steps, each alone, after a warm-up. An epoch of few batches is repeated."""
    training.model.train()
    training.criterion.train()
    latest: deque[Batch] = deque(maxlen=BATCHES_IN_MEMORY)
    with contextlib.closing(_endless(batches)) as own:

        def load() -> None:
            latest.append(next(own))

        def step() -> None:
            latest.rotate()
            _step(training, latest[0])

        def load_and_step() -> None:
            load()
            step()

        warm_up_s, num_warm_up = _warm_up(training, load_and_step, timer)
        load_s = timer.mean(load)
    step_s = timer.mean(step)
    return StepTimes(load_s=load_s, step_s=step_s, warm_up_s=max(0.0, warm_up_s - num_warm_up * (load_s + step_s)))


def _warm_up(training: TrainState, load_and_step: Callable[[], None], timer: Timer) -> tuple[float, int]:
    """Return the seconds of the first steps, and their number."""
    first_s = timer.once(load_and_step)
    settles_later = training.recipe.compiled or training.device.is_gpu
    if first_s >= WARM_UP_S and not settles_later:
        return first_s, 1
    more_s, num_more = timer.repeat(load_and_step, WARM_UP_S, WARM_UP_STEPS - 1)
    return first_s + more_s, 1 + num_more


def _endless(batches: EpochBatches) -> Generator[Batch]:
    while True:
        with contextlib.closing(batches.start(workers=0)) as own:
            yield from own


def _step(training: TrainState, batch: Batch) -> None:
    """Do what `train_one_epoch` does with a batch."""
    set_learning_rate(training.optimizer, training.recipe, Moment(epoch=1))
    training.step(batch.to(training.device).augmented(training.recipe))
    if training.averaged is not None:
        training.averaged.update(training.model)


def time_evaluation(training: TrainState, timer: Timer) -> EvaluationTimes:
    """Time loading and evaluating one batch of val, and what an evaluation does besides."""
    model, evaluation = training.evaluated_model.eval(), training.evaluation
    inputs, device = training.inputs, training.device
    indices = evaluation.images[: training.evaluation_batch_size.images]
    images_BHWC, words_BL = inputs.at(indices, device)
    run = network_of(model, device, training.recipe.precision, ranks=evaluation.ranks)

    def forward() -> None:
        with torch.inference_mode():
            run(images_BHWC, words_BL)

    forward()  # warms up
    without_network = cast(Model, _RandomOutputs(model.num_features, len(training.works), device.torch_device))
    without_images = cast(Inputs, _NoInputs())

    return EvaluationTimes(
        load_s=timer.mean(lambda: inputs.at(indices, device)),
        forward_s=timer.mean(forward),
        num_images=len(indices),
        metrics_s=timer.mean(lambda: evaluate(without_network, evaluation, without_images, device)),
        latency_s=timer.once(lambda: ms_per_image(model, evaluation, inputs, device)),
    )


class _RandomOutputs:
    """Replaces a model, so that evaluating it takes the time of the metrics alone. It is its own backbone and head.

    B batch, D feature dimension, N works.
    """

    training = False

    def __init__(self, num_features: int, num_works: int, device: torch.device) -> None:
        self.num_features = num_features
        self._num_works, self._device = num_works, device
        self.head = self

    def backbone(self, images_B0: Tensor, words: None) -> Features:
        return {"images": images_B0}

    def embed(self, features: Features) -> Tensor:
        return torch.rand(len(features["images"]), self.num_features, device=self._device)

    def __call__(self, features: Features) -> Outputs:
        logits_BN = torch.rand(len(features["images"]), self._num_works, device=self._device)
        return Outputs(logits=[logits_BN], features=[], extra={})

    def eval(self) -> None:
        pass

    def train(self, mode: bool) -> None:
        pass


class _NoInputs:
    """Inputs of evaluation without pixels."""

    def at(self, indices: np.ndarray, device: Device) -> tuple[Tensor, None]:
        return torch.empty(len(indices), 0), None
