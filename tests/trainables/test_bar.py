"""The progress bar of a training."""

from trainables.bar import EpochBar
from trainables.training.progress import Progress


def test_the_bar_shows_the_mean_loss_once_the_first_losses_are_read(monkeypatch):
    """A GPU's losses are read some steps late."""
    with EpochBar(num_epochs=3, epoch=1) as bar:
        shown = []
        monkeypatch.setattr(bar._bar, "set_postfix", lambda loss, refresh: shown.append(loss))
        bar.batch_done(Progress(num_batches=1, of=40))
        assert shown == []
        bar.batch_done(Progress(num_batches=30, of=40, num_images=20, sums={"loss": 50.0}))
        assert shown == ["2.500"]
