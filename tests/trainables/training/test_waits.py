"""On a GPU no training step waits for the device: shown on a CPU that records what a GPU would be asked for."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore

from benchmarks.launches import Operations
from benchmarks.window.networks import build_step, random_batch
from tests.trainables.recording import RecordingDevice
from trainables.data.batches import TrainingSet
from trainables.distributed import DistributedContext
from trainables.losses.registry import ID_LOSSES, METRIC_LOSSES
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.loop import train_one_epoch
from trainables.training.loss_reader import STEPS_PER_READ, LossReader, NonFiniteLoss
from trainables.training.progress import Progress
from trainables.training.train_state import prepare, seed_everything

NUM_BATCHES = 2 * STEPS_PER_READ + 5
# a tiny recipe of each family
ROWS: dict[str, dict[str, object]] = {
    "transreid-vit-jpm-tiny": {},
    "transreid-vit-stride-tiny": {},
    "transreid-vit-base-tiny": {"center_weight": 0.0005},
    "agw-resnet50-nl-upstream-tiny": {},
    "agw-tiny": {"clip_norm": 1.0},
    "dafre-tiny": {},
    "icartoonface-tiny": {},
    "animesion-tiny": {},
    "open-tiny": {},
}


@pytest.fixture
def recorded(small_recipe, manifest):
    """A training of many batches on a recording device; its steps are recorded, too."""
    recipe = small_recipe(epochs=2)
    training = prepare(recipe, manifest, fold=0, seed=0, device=RecordingDevice())
    batch_size = recipe.batch_size
    data = training.data
    rows = np.resize(np.arange(len(data.indices)), NUM_BATCHES * batch_size)
    training.data = TrainingSet(data.images, data.indices[rows], data.labels[rows], data.roles[rows])
    step, events = training.step, training.device.events

    def recorded_step(batch):
        losses = step(batch)
        events.append("step")
        return losses

    training.step = recorded_step  # type: ignore[assignment]
    return training


def test_an_epoch_waits_for_its_losses_only_at_its_end(recorded):
    losses, num_images = train_one_epoch(recorded, 1)
    events = Counter(recorded.device.between_steps())
    assert events["wait"] == 0
    assert events["step"] + 1 >= NUM_BATCHES
    assert events["read"] == events["download"] - 1 >= 1
    assert num_images == recorded.device.events.count("step") * recorded.recipe.batch_size
    assert losses["loss"] > 0


def test_losses_read_late_are_those_read_at_once(recorded, small_recipe):
    late, num_images = train_one_epoch(recorded, 1)
    seed_everything(0, 0)
    again = prepare(recorded.recipe, recorded.manifest, fold=0, seed=0)
    again.data = recorded.data
    assert train_one_epoch(again, 1) == (late, num_images)


@pytest.mark.parametrize("name", ROWS)
def test_no_operation_of_a_step_makes_the_host_wait(name):
    check_that_nothing_waits(name, ROWS[name])


@pytest.mark.parametrize("loss", METRIC_LOSSES)
def test_no_metric_loss_makes_the_host_wait(loss):
    check_that_nothing_waits("transreid-tiny", {"metric_loss": loss})


@pytest.mark.parametrize("loss", ID_LOSSES)
def test_no_identity_loss_makes_the_host_wait(loss):
    check_that_nothing_waits("transreid-tiny", {"id_loss": loss, "label_smoothing": 0.0})


def check_that_nothing_waits(name, settings):
    recipe = override(get_recipe(name), {"pretrained": False, "lr": 1e-6} | settings)
    num_words = 30 if getattr(recipe, "text_tokens", 0) else 0
    recipe = dataclasses.replace(recipe, **_small_batch(recipe))
    step, batch = build_step(recipe, num_words=num_words), random_batch(recipe, num_words=num_words)
    step(batch)  # checks the losses
    with Operations() as operations:
        step(batch)
    assert operations.waits == Counter()


class RankWithoutAverage(DistributedContext):
    """Leaves out DistributedDataParallel, which does not run in the fake group."""

    def wrap(self, module):
        return module


@pytest.fixture
def one_of_two_ranks():
    """A rank whose partner does not exist: torch's fake group returns from every exchange at once."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield RankWithoutAverage(rank=0, world=2)
    dist.destroy_process_group()


@pytest.mark.parametrize("micro_batch", [None, 2])
def test_no_operation_of_a_ranks_step_makes_the_host_wait(micro_batch, one_of_two_ranks):
    recipe = override(get_recipe("transreid-tiny"), {"pretrained": False, "lr": 1e-6, "micro_batch": micro_batch})
    recipe = dataclasses.replace(recipe, **_small_batch(recipe))
    step, batch = build_step(recipe, ranks=one_of_two_ranks), random_batch(recipe)
    batch = dataclasses.replace(batch, total=2 * len(batch.labels))
    step(batch)
    with Operations() as operations:
        step(batch)
    assert operations.waits == Counter()
    assert operations.launches["allgather_"] >= 2  # of features and labels


def test_a_wait_is_found():
    with Operations() as operations:
        torch.ones(3).sum().item()
        torch.arange(4)[torch.tensor([True, False, True, False])]
    assert operations.waits.total() >= 2


@pytest.mark.parametrize("bad_step", [1, STEPS_PER_READ, STEPS_PER_READ + 3])
def test_a_loss_that_is_not_finite_is_found_and_its_step_named(bad_step):
    reader = LossReader(RecordingDevice(), Progress(), num_images=4, lr=0.1)
    losses = [torch.tensor(float("nan") if number == bad_step else 1.0) for number in range(4 * STEPS_PER_READ)]
    with pytest.raises(NonFiniteLoss, match=rf"The loss is nan in epoch 1, step {bad_step}, with lr=0.1"):
        add_all(reader, losses)


def test_losses_are_read_when_asked_for():
    progress = Progress()
    reader = LossReader(RecordingDevice(), progress, num_images=4, lr=0.1)
    for number in range(STEPS_PER_READ + 3):
        reader.add({"loss": torch.tensor(float(number))}, "")
    reader.finish()
    assert progress.num_images == 4 * (STEPS_PER_READ + 3)
    assert progress.sums["loss"] == 4 * sum(range(STEPS_PER_READ + 3))


def add_all(reader, losses):
    for number, loss in enumerate(losses):
        reader.add({"loss": loss, "id_loss": loss}, f"in epoch 1, step {number}")


def _small_batch(recipe):
    if hasattr(recipe, "works_per_batch"):
        return {"works_per_batch": 4, "images_per_work": 2}
    return {"batch_size": 8}
