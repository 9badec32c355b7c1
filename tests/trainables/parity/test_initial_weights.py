"""Fresh weights: every tensor of every recipe that starts from scratch, beside the restated network's over 20 seeds.

`pytest -s` prints the worst tensor of each group of recipes that share a network and a start.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainables.parity.our_names import as_restated, cut, rules_of
from tests.trainables.parity.pooled import Verdict, compare, pool
from tests.trainables.parity.shapes import NUM_WORDS, NUM_WORKS, groups, is_large, kind_of, restate
from trainables.models import build_model
from trainables.recipes.recipe import Recipe

pytestmark = pytest.mark.integration

PADDED = "text.words.weight"  # its first row, the padding's, is 0 and stays 0


def fast_and_slow() -> list[Any]:
    """The groups as parameters: the first small one of each kind of network is fast, the others are marked slow."""
    seen: set[tuple] = set()
    found = []
    for recipes in groups().values():
        kind = kind_of(recipes[0])
        slow = is_large(recipes[0]) or kind in seen
        seen |= set() if slow else {kind}
        name = f"{recipes[0].name}+{len(recipes) - 1}"
        found.append(pytest.param(recipes, id=name, marks=[pytest.mark.slow] if slow else []))
    return found


def without_padding(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The embedding of words as two: the padding's row, and the words'."""
    if PADDED not in state:
        return state
    words = state[PADDED]
    rest = {name: value for name, value in state.items() if name != PADDED}
    return {**rest, "text.words.weight[0]": words[:1], "text.words.weight[1:]": words[1:]}


def verdicts_of(recipe: Recipe) -> list[Verdict]:
    """Each weight of ours beside the restated one, the worst first."""
    torch.manual_seed(0)
    restated = restate(recipe)
    rules = rules_of(recipe.system, restated)
    # shapes and names alone; the weights of a large network would double the memory
    theirs_shape = {name: torch.empty_like(value, device="meta") for name, value in restated.state_dict().items()}
    ours_shape = {
        name: torch.empty_like(value, device="meta")
        for name, value in build_model(recipe, NUM_WORKS, num_words_of(recipe)).state_dict().items()
    }
    del restated

    def ours() -> dict[str, Tensor]:
        state = build_model(recipe, NUM_WORKS, num_words_of(recipe)).state_dict()
        return without_padding(as_restated(state, theirs_shape, rules))

    def theirs() -> dict[str, Tensor]:
        state = restate(recipe).state_dict()
        both = as_restated(ours_shape, state, rules)
        return without_padding({name: cut(name, value, both[name]) for name, value in state.items()})

    our_sums, their_sums = pool(ours), pool(theirs)
    assert our_sums.keys() == their_sums.keys()
    verdicts = [compare(name, our_sums[name], their_sums[name]) for name in their_sums]
    return sorted(verdicts, key=lambda verdict: -verdict.excess)


def num_words_of(recipe: Recipe) -> int:
    """The vocabulary's size where the recipe reads tags."""
    return NUM_WORDS if getattr(recipe, "text_tokens", 0) else 0


@pytest.mark.parametrize("recipes", fast_and_slow())
def test_every_weight_starts_as_upstreams_does(recipes: Sequence[Recipe]) -> None:
    verdicts = verdicts_of(recipes[0])
    print(f"\n{recipes[0].name} (and {len(recipes) - 1} more), {len(verdicts)} tensors; worst:")
    print(f"{'tensor':34} {'shape':>14} {'our std':>10} {'upstream':>10} {'our mean':>10} {'upstream':>10}")
    print(f"{verdicts[0].line}  {verdicts[0].excess:.2f} of the bound")
    broken = [verdict.line for verdict in verdicts if verdict.excess > 1]
    assert not broken, f"{len(broken)} of {len(verdicts)} differ:\n" + "\n".join(broken[:8])


@pytest.mark.slow
def test_recipes_of_a_group_share_their_shapes() -> None:
    for recipes in groups().values():
        with torch.device("meta"):
            states = [build_model(recipe, NUM_WORKS, num_words_of(recipe)).state_dict() for recipe in recipes]
        shapes = [{name: value.shape for name, value in state.items()} for state in states]
        assert all(shape == shapes[0] for shape in shapes), recipes[0].name
