"""Sample a space: at random, with every choice at least once, and the settings of its largest training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from platform.spaces.constraints import Limits, known_costs
from platform.spaces.points import sample
from platform.training_setup import TrainingSetup
from shards_tools.errors import Error
from trainables.profiling.memory_estimate import bytes_held
from trainables.recipes.recipe import Recipe

NUM_SUGGESTIONS = 50


@dataclass(frozen=True)
class Suggestion:
    """A sample of a space and its recipe."""

    params: dict[str, Any]
    distributions: dict[str, BaseDistribution]
    recipe: Recipe
    num_bytes: int  # estimated memory of its training; 0: it exceeds a limit and would not be trained
    sizes: Mapping[str, Any] = field(default_factory=dict)  # the `params` that make it large; empty if unknown

    def __str__(self) -> str:
        return f"{self.recipe.name} with {said(self.sizes or self.params)}"


class Suggestions:
    """Random samples of a space, further samples until every choice occurs once, and the baselines."""

    def __init__(self, setup: TrainingSetup, at_most: Limits) -> None:
        self._setup, self._limits = setup, at_most
        self._train_size = setup.train_size
        self._rng = np.random.default_rng(setup.seed)
        draws = [self._draw({}) for _ in range(NUM_SUGGESTIONS)]
        # Of a space that rejects nearly all combinations, those that were found when it was loaded.
        self.random = [draw for draw in draws if draw] or self._drawn(map(dict, setup.space.draws))
        self.forced = list(self._sample_missing_choices())
        self.baselines = self._drawn(setup.space.baselines.values(), runs=True)

    @property
    def num_choices(self) -> int:
        """The number of choices, and of ends of integer ranges, that occur in at least one sample."""
        return len(_choices_made([*self.random, *self.forced]))

    def usual(self) -> Suggestion:
        """Return the random sample of median memory among those within the limits."""
        trained = [suggestion for suggestion in self.random if suggestion.num_bytes] or self.baselines or self.random
        return sorted(trained, key=lambda suggestion: suggestion.num_bytes)[len(trained) // 2]

    def largest(self) -> Suggestion:
        """Return the training that needs the most memory, found by hill climbing from the largest sample.

        Each step changes the one choice that increases the memory the most.
        """
        best = max([*self.random, *self.forced, *self.baselines], key=lambda suggestion: suggestion.num_bytes)
        while True:
            changed = [(key, self._draw({**best.params, key: value})) for key, value in _choices(best)]
            others = [(key, other) for key, other in changed if other]
            larger = max((other for _, other in others), key=lambda suggestion: suggestion.num_bytes, default=best)
            if larger.num_bytes <= best.num_bytes:
                matter = {key for key, other in others if other.num_bytes < best.num_bytes}
                return replace(best, sizes={key: value for key, value in best.params.items() if key in matter})
            best = larger

    def _sample_missing_choices(self) -> Iterator[Suggestion]:
        """Yield a sample for each choice that no random sample has, including choices of parameters new in those."""
        suggestions, asked = list(self.random), set[tuple[str, Any]]()
        while True:
            all_choices = {choice: suggestion for suggestion in suggestions for choice in _choices(suggestion)}
            left = {choice: all_choices[choice] for choice in all_choices.keys() - _choices_made(suggestions) - asked}
            if not left:
                return
            for key, value in sorted(left, key=str):
                if suggestion := self._draw({**left[key, value].params, key: value}):
                    suggestions.append(suggestion)
                    yield suggestion
            asked |= left.keys()

    def _drawn(self, points: Iterable[dict[str, Any]], *, runs: bool = False) -> list[Suggestion]:
        return [draw for point in points if (draw := self._draw(point, runs=runs))]

    def _draw(self, fixed: dict[str, Any], *, runs: bool = False) -> Suggestion | None:
        """Return a sample with these values, the others at random; None if the space rejects these values.

        Args:
            runs: whether it is trained even if it exceeds a limit, as baselines are.
        """
        trial = sample(self._setup.space.suggest, self._rng, fixed)
        if trial is None:
            return None
        try:
            recipe = self._setup.recipe(trial)
            over = any(cost > self._limits[name] for name, cost in known_costs(recipe, self._limits).items())
            num_bytes = bytes_held(recipe, *self._train_size) if runs or not over else 0
            return Suggestion(trial.params, trial.distributions, recipe, num_bytes)
        except Error as mistake:
            raise Error(f"{mistake} suggest() returned this for {said(trial.params)}.") from None


def said(params: Mapping[str, Any]) -> str:
    """Format parameters as `key=value, ...`."""
    values = (f"{key}={value:.3g}" if isinstance(value, float) else f"{key}={value}" for key, value in params.items())
    return ", ".join(values) or "no parameters"


def _choices(suggestion: Suggestion) -> Iterator[tuple[str, Any]]:
    """Yield the choices of categorical parameters and the ends of integer ranges; floats do not affect memory."""
    for key, distribution in suggestion.distributions.items():
        if isinstance(distribution, CategoricalDistribution):
            yield from ((key, choice) for choice in distribution.choices)
        elif isinstance(distribution, IntDistribution):
            yield from ((key, end) for end in (distribution.low, distribution.high))


def _choices_made(suggestions: Iterable[Suggestion]) -> set[tuple[str, Any]]:
    return {
        choice
        for suggestion in suggestions
        for choice in _choices(suggestion)
        if suggestion.params[choice[0]] == choice[1]
    }
