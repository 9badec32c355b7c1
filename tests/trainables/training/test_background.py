"""Reports in the background: they hold what the training was, and what they raise ends the training."""

import threading

import pytest
import torch

from tests.trainables.reports import Reports, assert_equal, state_of
from trainables.training.background import BackgroundReports
from trainables.training.loop import train
from trainables.training.loss_reader import LossReader, NonFiniteLoss

PATIENCE_S = 60


@pytest.mark.parametrize("settings", [{}, {"optimizer": "adamw", "channels_last": True}])
def test_a_checkpoint_written_while_the_next_epoch_trains_is_that_of_its_epoch(
    small_recipe, manifest, tmp_path, settings
):
    recipe = small_recipe(epochs=3, **settings)
    whole, late = Reports(tmp_path / "whole"), Reports(tmp_path / "late")
    train(recipe, manifest, report=whole)
    trained_on = threading.Event()

    def report_late(report, save):
        assert report.epoch == recipe.epochs or trained_on.wait(PATIENCE_S)
        save(late.folder / str(report.epoch))
        late.metrics.append(report.metrics)
        trained_on.clear()

    def watch(progress):
        trained_on.set()

    with BackgroundReports(report_late, save_partial=None) as background:
        train(recipe, manifest, report=background.report, watch=watch)
    assert late.lasting() == whole.lasting()
    for epoch in ("1", "2", "3"):
        assert_equal(state_of(late.folder / epoch), state_of(whole.folder / epoch))


def test_a_checkpoint_within_an_epoch_resumes_to_the_same_end(small_recipe, manifest, tmp_path, monkeypatch):
    monkeypatch.setattr("trainables.training.loop.PARTIAL_CHECKPOINT_SECONDS", 0)
    recipe = small_recipe(epochs=1)
    whole, again = Reports(tmp_path / "whole"), Reports(tmp_path / "again")
    train(recipe, manifest, report=whole)
    saved = []

    def save_partial(save):
        saved.append(tmp_path / f"partial-{len(saved)}")
        save(saved[-1])

    with BackgroundReports(lambda report, save: None, save_partial) as background:
        train(recipe, manifest, report=background.report, save_partial=background.save_partial)
    train(recipe, manifest, report=again, resume=saved[0])
    assert again.lasting() == whole.lasting()


@pytest.mark.parametrize("failure", [OSError("disk full"), SystemExit(0)])
def test_what_a_report_raises_ends_the_training_within_the_next_epoch(small_recipe, manifest, failure):
    def fail(report, save):
        raise failure

    batches = []

    def watch(progress):
        background._in_flight.exception(PATIENCE_S) if background._in_flight else None
        batches.append(progress.num_batches)
        background.raise_failure(progress)

    with (
        pytest.raises(type(failure)) as raised,
        BackgroundReports(fail, save_partial=None) as background,
    ):
        train(small_recipe(epochs=9), manifest, report=background.report, watch=watch)
    assert raised.value is failure
    assert batches[-1] == 1
    assert batches.count(1) == 2  # the second epoch ended after its first batch


def test_the_decision_about_an_epoch_comes_before_what_happens_in_the_next(small_recipe, manifest, monkeypatch):
    """A pruned trial stays pruned although its next epoch diverges before the pruner has answered."""
    diverged = threading.Event()

    def prune(report, save):
        assert diverged.wait(PATIENCE_S)
        raise SystemExit(0)

    def diverge_after_an_epoch(self, losses, place):
        if "epoch 2" in place:
            diverged.set()
            raise NonFiniteLoss("The loss is nan.")
        add(self, losses, place)

    add = LossReader.add
    monkeypatch.setattr(LossReader, "add", diverge_after_an_epoch)
    with pytest.raises(SystemExit), BackgroundReports(prune, save_partial=None) as background:
        train(small_recipe(epochs=2), manifest, report=background.report, watch=background.raise_failure)


def test_one_report_at_a_time_and_all_of_them_before_the_end(small_recipe, manifest):
    running, seen = threading.Lock(), []

    def report(report, save):
        assert running.acquire(blocking=False)
        seen.append(report.epoch)
        running.release()

    with BackgroundReports(report, save_partial=None) as background:
        train(small_recipe(epochs=3), manifest, report=background.report, watch=background.raise_failure)
    assert seen == [1, 2, 3]


def test_ctrl_c_waits_for_the_write_in_flight(small_recipe, manifest, tmp_path):
    interrupted = threading.Event()

    def report(report, save):
        assert interrupted.wait(PATIENCE_S)
        save(tmp_path / "last")

    def watch(progress):
        if background._in_flight:
            interrupted.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), BackgroundReports(report, save_partial=None) as background:
        train(small_recipe(epochs=2), manifest, report=background.report, watch=watch)
    assert (tmp_path / "last" / "checkpoint.json").exists()


def test_the_threads_of_torch_are_recorded_as_the_training_had_them(small_recipe, manifest, tmp_path):
    """In another thread, torch has another number of threads."""
    with BackgroundReports(lambda report, save: save(tmp_path), save_partial=None) as background:
        train(small_recipe(epochs=1), manifest, report=background.report)
    assert f'"num_threads": {torch.get_num_threads()},' in (tmp_path / "checkpoint.json").read_text()
