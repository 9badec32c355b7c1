"""Count the operations that a training step launches on a GPU, and those in which the host would wait for it.

No GPU is needed: the step runs on meta tensors, which have shapes and no content, and every operation that torch
dispatches is counted. Views launch nothing. Recipes have paper scale.

    python benchmarks/launches.py [--recipes NAME ...]
"""

import argparse
from collections import Counter
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.window.networks import build_parts, random_batch
from trainables.device import Device
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override
from trainables.training.step import Step
from trainables.training.train_state import seed_everything

# one row of each family, and rows with other networks
RECIPES = (
    "transreid-vit-stride", "transreid-vit-base-code", "agw-resnet50-nl", "agw-resnet50", "dafre-224-b32",
    "dafre-224-r18", "icartoonface-resnet50", "animesion-l16-ifa", "open",
)  # fmt: skip
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


def count(recipe: Recipe) -> Operations:
    """Return the operations of a step."""
    seed_everything(0, 0)
    meta = torch.device("meta")
    model, criterion, optimizer = build_parts(recipe, device=meta)
    fused = cast(torch.optim.Optimizer, FusedOptimizer(optimizer))
    step, operations = Step(recipe, model, criterion, fused, device=Device("cpu")), Operations()
    with meta:
        batch = random_batch(recipe)
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
