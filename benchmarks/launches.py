"""Count the operations that a training step launches on a GPU, and those in which the host would wait for it.

No GPU is needed: the step runs on meta tensors, which have shapes and no content, and every operation that torch
dispatches is counted. Views launch nothing. Recipes have paper scale.

    python benchmarks/launches.py [--recipes NAME ...]
"""

import argparse
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from trainables.data.batches import Batch
from trainables.device import Device
from trainables.losses.criterion import Criterion
from trainables.models import build_model
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override
from trainables.training.optimizer import build_optimizer
from trainables.training.step import Step
from trainables.training.train_state import seed_everything

# one row of each family, and rows with each pairwise loss
RECIPES = (
    "transreid-vit-stride", "transreid-vit-base-code", "agw-resnet50-nl", "agw-resnet50", "dafre-224-b32",
    "dafre-224-r18", "icartoonface-resnet50", "animesion-l16-ifa", "open",
)  # fmt: skip
NUM_WORKS = 152
VIEWS = frozenset({
    "view", "_unsafe_view", "reshape", "transpose", "t", "permute", "expand", "slice", "select", "unbind", "split",
    "chunk", "unsqueeze", "squeeze", "detach", "as_strided", "alias", "empty", "empty_like", "empty_strided",
    "new_empty", "new_empty_strided", "_reshape_alias", "unflatten", "narrow", "split_with_sizes", "lift_fresh", "real",
    "diagonal", "is_same_size", "broadcast_to", "view_as",
})  # fmt: skip
WAITS = frozenset({
    "_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2", "unique_dim", "unique_consecutive",
})  # fmt: skip
INDEXING = frozenset(["index", "index_put", "index_put_", "_index_put_impl_"])


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations within the context.

    Attributes:
        launches: operations that start work on a GPU, by name.
        waits: operations whose result decides what the host does next, by name.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launches: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count an operation and run it."""
        name = func._schema.name.split("::")[1]
        masks = (leaf for leaf in tree_leaves(args[1:]) if isinstance(leaf, Tensor) and leaf.dtype == torch.bool)
        if name in WAITS or (name in INDEXING and any(True for _ in masks)):  # a mask's length decides the shape
            self.waits[name] += 1
        if name not in VIEWS:
            self.launches[name] += 1
        return func(*args, **(kwargs or {}))


class FusedOptimizer:
    """Counts as an optimizer with one launch per group of weights, because torch fuses none on meta tensors."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._groups = [group["params"][0] for group in optimizer.param_groups]

    def zero_grad(self) -> None:
        """Do nothing, because gradients are set to None."""

    def step(self) -> None:
        """Launch one operation per group."""
        for weight in self._groups:
            torch.neg(weight.detach())


def random_batch(recipe: Recipe, num_words: int = 0) -> Batch:
    """Return a batch of random pixels and words, with P works as a batch sampler would choose them."""
    works, images = recipe.batch_shape(NUM_WORKS)
    shape = (works * images, recipe.image_size, recipe.image_size, 3)
    labels_B = torch.arange(works).repeat_interleave(images) % NUM_WORKS
    images_BHWC = torch.randint(0, 256, shape, dtype=torch.uint8)
    if not num_words:
        return Batch(images_BHWC, labels_B)
    words_BL = torch.randint(0, num_words, (len(labels_B), recipe.text_tokens))  # type: ignore[attr-defined]
    return Batch(images_BHWC, labels_B, words_BL, torch.where(words_BL % 7 == 0, words_BL, -100))


def make_step(recipe: Recipe, num_words: int = 0) -> Step:
    """Return the step of a new model in training mode, on torch's default device."""
    model = build_model(recipe, NUM_WORKS, num_words).train()
    width, num_branches = int(model.backbone.width), int(model.backbone.num_branches)  # type: ignore[arg-type]
    criterion = Criterion(recipe, NUM_WORKS, width, num_branches)
    optimizer = FusedOptimizer(build_optimizer(model, recipe, criterion))
    return Step(recipe, model, criterion, optimizer, device=Device("cpu"))  # type: ignore[arg-type]


def count(recipe: Recipe) -> Operations:
    """Return the operations of a step."""
    seed_everything(0, 0)
    with torch.device("meta"):
        step, batch = make_step(recipe), random_batch(recipe)
    operations = Operations()
    with operations:
        step(batch)
    return operations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", metavar="NAME", default=RECIPES)
    for name in parser.parse_args().recipes:
        recipe = override(get_recipe(name), {"pretrained": False, "lr": 1e-6})
        operations = count(recipe)
        print(
            f"{name:26} batch {recipe.batch_size:4}  {operations.launches.total():6} launches"
            f"  {operations.waits.total():4} waits  {dict(operations.waits) or ''}",
            flush=True,
        )


if __name__ == "__main__":
    main()
