"""Ranks share every batch, and learn what one process learns alone. Real processes, torch's gloo on this machine."""

import multiprocessing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist

from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.plugins import load_plugins
from trainables.data import reading
from trainables.data.batches import EpochBatches
from trainables.device import Device
from trainables.distributed import DistributedContext, ranks_of_group
from trainables.recipes.recipe import Recipe
from trainables.training.checkpoint import load_model
from trainables.training.loop import train
from trainables.training.train_state import prepare

processes = multiprocessing.get_context("spawn")
# what cannot be equal is off: erasing and drop path draw other numbers on every rank
ALIKE = {"erase_probability": 0.0, "drop_path": 0.0}


OWN_CODE = Path(__file__).parent / "own_code.py"


def train_as(rank: int, world: int, folder: Path, recipe: Recipe, address: str, settings: dict[str, Any]) -> None:
    load_plugins([str(OWN_CODE)])
    torch.set_num_threads(1)
    if world > 1:
        wait = timedelta(seconds=60)
        dist.init_process_group("gloo", f"file://{folder}/meeting", timeout=wait, rank=rank, world_size=world)
    ranks = ranks_of_group() if world > 1 else DistributedContext()
    reports: list[dict[str, float]] = []

    def keep(report, save) -> None:
        save(folder / str(report.epoch))
        reports.append(report.metrics)

    train(recipe, read_manifest(address), report=keep, device="cpu", ranks=ranks, **settings)
    assert bool(reports) == (rank == 0), "the first rank alone reports"
    np.save(folder / f"reports-{rank}.npy", [[entry[key] for key in ("mAP", "loss")] for entry in reports])
    if world > 1:
        dist.destroy_process_group()


def trained(world: int, folder: Path, recipe: Recipe, manifest, **settings):
    folder.mkdir()
    arguments = [(rank, world, folder, recipe, str(manifest.store), settings) for rank in range(world)]
    running = [processes.Process(target=train_as, args=each) for each in arguments]
    for process in running:
        process.start()
    for process in running:
        process.join(120)
    assert [process.exitcode for process in running] == [0] * world
    model, _ = load_model(folder / str(recipe.epochs))
    return np.load(folder / "reports-0.npy"), model.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "world", "settings"),
    [
        ({"jpm": True, "stride_px": 6, "images_per_work": 5}, 3, {}),  # 20 images: 7, 7 and 6
        ({"metric_loss": "wrt", "center_weight": 0.01, "micro_batch": 3}, 2, {}),
        ({"ema_decay": 0.8}, 2, {"reading": "offset"}),
        ({"metric_loss": "proxy_nca", "clip_norm": 1.0}, 2, {}),
    ],
    ids=["jpm-of-3", "micro-batches-and-centers", "running-mean", "proxies"],
)
@pytest.mark.usefixtures("own_code")
def test_ranks_learn_what_one_learns_alone(small_recipe, manifest, tmp_path, changes, world, settings):
    recipe = small_recipe(epochs=2, optimizer="sgd", lr=0.01, **ALIKE, **changes)
    alone, expected = trained(1, tmp_path / "alone", recipe, manifest, **settings)
    together, found = trained(world, tmp_path / "together", recipe, manifest, **settings)
    np.testing.assert_allclose(together, alone, rtol=1e-4)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5)
    kept = [torch.load(tmp_path / name / "2" / "state.pt", weights_only=True) for name in ("alone", "together")]
    for name, value in kept[0]["losses"].items():  # centers, or weights of the loss's own
        torch.testing.assert_close(kept[1]["losses"][name], value, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("own_code")
def test_a_training_of_ranks_goes_on_from_its_checkpoint(small_recipe, manifest, tmp_path):
    recipe = small_recipe(epochs=2, metric_loss="proxy_nca", **ALIKE)
    whole, expected = trained(2, tmp_path / "whole", recipe, manifest)
    again, found = trained(2, tmp_path / "again", recipe, manifest, resume=tmp_path / "whole" / "1")
    np.testing.assert_array_equal(again, whole)
    assert all(torch.equal(found[name], value) for name, value in expected.items())


@pytest.mark.slow
@pytest.mark.usefixtures("own_code")
def test_ranks_that_stream_agree_on_the_number_of_their_batches(small_recipe, manifest, tmp_path):
    recipe = small_recipe(epochs=2, works_per_batch=2, images_per_work=3, **ALIKE)
    data = prepare(recipe, manifest, fold=0, seed=1, reading="stream", device=Device("cpu")).data
    lengths = [len(EpochBatches(data, recipe, seed=1, epoch=1, rank=rank, world=2)) for rank in range(2)]
    assert lengths[0] != lengths[1], "otherwise this shows nothing"
    reports, _ = trained(2, tmp_path / "two", recipe, manifest, reading="stream", seed=1)
    assert len(reports) == 2
    assert np.isfinite(reports).all()


def read_as(rank: int, folder: Path, recipe: Recipe, address: str) -> None:
    """What one of two ranks reads where the second has no room, which a disk of this machine's size always has."""
    if rank == 1:
        reading.auto_reading = lambda *arguments: "stream"
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    found = reading.agreed_reading(recipe, read_manifest(address), "auto", ranks_of_group(), "cpu")
    (folder / f"reading-{rank}").write_text(found)
    dist.destroy_process_group()


def test_all_ranks_stream_where_one_has_to(small_recipe, manifest, tmp_path):
    arguments = [(rank, tmp_path, small_recipe(), str(manifest.store)) for rank in range(2)]
    running = [processes.Process(target=read_as, args=each) for each in arguments]
    for process in running:
        process.start()
    for process in running:
        process.join(120)
    assert [(tmp_path / f"reading-{rank}").read_text() for rank in range(2)] == ["stream", "stream"]
    assert reading.agreed_reading(small_recipe(), manifest, "auto", DistributedContext(), "cpu") == "auto"


def test_more_ranks_than_images_in_a_batch_are_refused(small_recipe, manifest):
    recipe = small_recipe(works_per_batch=2, images_per_work=2)
    data = prepare(recipe, manifest, fold=0, seed=0, device=Device("cpu")).data
    with pytest.raises(Error, match="5 ranks cannot share batches of 4 images"):
        EpochBatches(data, recipe, seed=0, epoch=1, world=5)


def test_shares_are_adjacent_and_cover_everything():
    for world in (1, 2, 3, 7):
        parts = [DistributedContext(rank, world).share(np.arange(10)) for rank in range(world)]
        assert np.concatenate(parts).tolist() == list(range(10))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
