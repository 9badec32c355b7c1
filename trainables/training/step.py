"""One training step: forward, losses, backward, optimizer update.

If a batch is split into micro-batches or sharded across ranks, each part passes through the backbone alone. Head and
losses see the features of the whole batch, so a loss between images does not depend on the parts.

B batch, H height, W width, C channels, L text length.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from shards_tools.errors import Error
from trainables.data.batches import Batch
from trainables.device import Device
from trainables.distributed import ALONE, DistributedContext
from trainables.losses.criterion import Criterion
from trainables.models.model import Features, Model
from trainables.recipes.recipe import Recipe
from trainables.training.progress import random_states, restore_random_states


class Step:
    """Trains on one batch per call, without waiting for the device."""

    def __init__(
        self,
        recipe: Recipe,
        model: Model,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer,
        ranks: DistributedContext = ALONE,
        teacher: Model | None = None,
        device: Device | None = None,
    ) -> None:
        """Wrap and compile the backbone.

        Args:
            device: where the model is; None: by the device of its weights.
        """
        self._recipe, self._model, self._criterion = recipe, model, criterion
        self._optimizer, self._ranks = optimizer, ranks
        self._teacher = teacher
        self._wrapped = ranks.wrap(model.backbone)
        self._backbone: Callable[..., Features] = Device.compiled(self._wrapped) if recipe.compiled else self._wrapped
        weights = (*model.parameters(), *criterion.parameters())
        self._trained = [weight for weight in weights if weight.requires_grad]
        self._checked = False  # whether the losses hold all weights that they train
        self._device = device or Device(str(next(model.parameters()).device))
        self.scaler = self._device.scaler(recipe.precision)
        if recipe.micro_batch is not None:
            _refuse_batch_norms(model.backbone, recipe)

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """Train on one batch (this rank's shard of it) and return the losses of the whole batch, on the device."""
        self._optimizer.zero_grad()
        losses = self._in_parts(batch) if self._recipe.micro_batch or self._ranks.world > 1 else self._whole(batch)
        if self._recipe.clip_norm is not None:
            self.scaler.unscale_(self._optimizer)
            nn.utils.clip_grad_norm_(self._trained, self._recipe.clip_norm)
        self.scaler.step(self._optimizer)
        self.scaler.update()
        return {name: loss.detach() for name, loss in losses.items()}

    def _whole(self, batch: Batch) -> dict[str, Tensor]:
        losses = self._losses(self._features(batch), batch.labels, batch.asked)
        self._refuse_untrained(losses, [])
        self.scaler.scale(losses["loss"]).backward()  # type: ignore[no-untyped-call]
        return losses

    def _in_parts(self, batch: Batch) -> dict[str, Tensor]:
        """Compute the same gradient part by part: forward all parts, compute the losses, then backward each part.

        Gao et al. 2021 (arXiv 2101.06983, gradient caching). With `micro_batch` each part passes through the backbone
        twice, with the same random state.
        """
        again = self._recipe.micro_batch is not None
        parts = batch.split(self._recipe.micro_batch or len(batch.labels))
        first, before = [], []
        for part in parts:
            before.append(random_states(self._device) if again else {})
            with torch.set_grad_enabled(not again):
                first.append(self._features(part))
        own = {name: torch.cat([features[name].detach() for features in first]) for name in first[0]}
        total = batch.total or len(batch.labels)
        whole = {name: self._ranks.gather(value, total).requires_grad_() for name, value in own.items()}
        asked = None if batch.asked is None else self._ranks.gather(batch.asked, total)
        losses = self._losses(whole, self._ranks.gather(batch.labels, total), asked)
        self._refuse_untrained(losses, whole.values())
        self.scaler.scale(losses["loss"]).backward()  # type: ignore[no-untyped-call]
        self._ranks.average_gradients(self._model.head)
        self._ranks.average_gradients(self._criterion)
        gradients = {name: self._ranks.own_gradient(value) for name, value in whole.items()}
        after, start = random_states(self._device) if again else {}, 0
        for number, part in enumerate(parts):
            with self._ranks.apart(self._wrapped, unless=part is parts[-1]):
                if again:
                    restore_random_states(before[number], self._device)
                features = self._features(part) if again else first[number]
                end = start + len(part.labels)
                _go_back(features, {name: value[start:end] for name, value in gradients.items()})
            start = end
        if again:
            restore_random_states(after, self._device)
        return losses

    def _losses(self, features: Features, works_B: Tensor, asked_BL: Tensor | None) -> dict[str, Tensor]:
        with self._device.precision("fp32"):  # distances cancel
            losses: dict[str, Tensor] = self._criterion(self._model.head(features), works_B, asked_BL)
        return losses

    def _refuse_untrained(self, losses: dict[str, Tensor], leaves: Iterable[Tensor]) -> None:
        """At the first step, refuse a loss with weights that the optimizer does not have."""
        known = {id(tensor) for tensor in (*self._trained, *leaves)}
        for name in () if self._checked else ("id_loss", "metric_loss"):
            if name in losses and any(id(leaf) not in known for leaf in _leaves(losses[name])):
                raise Error(
                    f"{name}={getattr(self._recipe, name)} has weights that would not be trained. Let its factory"
                    " return an nn.Module that holds them."
                )
        self._checked = True

    def _features(self, batch: Batch) -> Features:
        with self._device.autocast(self._recipe.precision):
            features = self._backbone(batch.images, batch.words)
            if self._teacher is not None:
                with torch.no_grad():
                    features = {**features, "teacher_logits": self._teacher.classify(batch.images)}
        # losses are float32: distances cancel in bfloat16
        return {name: value.float() if value.is_floating_point() else value for name, value in features.items()}


def _leaves(value: Tensor) -> Iterator[Tensor]:
    """Every tensor that `value` was computed from and that gets a gradient."""
    to_visit, seen = [value.grad_fn], set()
    while to_visit:
        node = to_visit.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            yield node.variable
        to_visit += [before for before, _ in node.next_functions]


def _go_back(features: Features, gradients: Features) -> None:
    ways = [(value, gradients[name]) for name, value in features.items() if value.requires_grad]
    if ways:  # empty with a frozen backbone
        values, of_values = zip(*ways, strict=True)
        torch.autograd.backward(values, of_values)


def _refuse_batch_norms(backbone: nn.Module, recipe: Recipe) -> None:
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in backbone.modules()):
        raise Error(
            f"{recipe.name}: with `micro_batch={recipe.micro_batch}` the batch norms of {recipe.backbone} would see"
            " parts of a batch. Set activation_checkpointing=true to save memory, or use a transformer."
        )
