"""The statistics of a network's weights over many fresh starts, with one network in memory at a time."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

SEEDS = 20
SMALL_TENSOR, LOOSE, STRICT = 1000, 0.10, 0.05  # elements; the std's greatest relative difference, below and above
MEAN_ERRORS = 4.0  # standard errors that the means may be apart
# The std of a bias of sixteen numbers, drawn twenty times, is itself only known to a few percent: there the bound is
# this number of its standard errors.
STD_ERRORS = 4.0


@dataclass
class Pooled:
    """Running sums of one weight over all starts; the moments are about 0, near which every random weight lies."""

    count: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0] * 4)
    elements: int = 0
    first: Tensor | None = None  # kept while every start gives the same constant
    shape: tuple[int, ...] = ()

    def add(self, value: Tensor) -> None:
        """Add the weight of one start."""
        if self.count == 0:
            self.elements, self.shape = value.numel(), tuple(value.shape)
            self.first = value.clone() if bool((value == value.flatten()[0]).all()) else None
        elif self.first is not None and not torch.equal(self.first, value):
            self.first = None
        self.count += value.numel()
        for power, moment in enumerate(_moments(value)):
            self.sums[power] += moment * value.numel()

    @property
    def mean(self) -> float:
        """The mean of all numbers of all starts."""
        return self.sums[0] / self.count

    @property
    def std(self) -> float:
        """Their standard deviation."""
        return math.sqrt(max(self.sums[1] / self.count - self.mean**2, 0.0))

    @property
    def std_error(self) -> float:
        """The relative standard error of `std`; of a large weight as if it were normal."""
        kurtosis = self.sums[3] / self.count / self.std**4 if self.elements < SMALL_TENSOR else 3.0
        return math.sqrt(max(kurtosis - 1, 0.5) / (4 * self.count))


def _moments(value: Tensor) -> list[float]:
    """The mean, the mean square and, of a small weight, the third and fourth moment."""
    if value.numel() >= SMALL_TENSOR:
        variance, mean = torch.stack(torch.var_mean(value, correction=0)).tolist()
        return [mean, variance + mean**2]
    powers = value.double().flatten() ** torch.arange(1, 5)[:, None]
    moments: list[float] = powers.mean(dim=1).tolist()
    return moments


def pool(build: Callable[[], dict[str, Tensor]], seeds: int = SEEDS) -> dict[str, Pooled]:
    """Return the statistics of every weight over several initializations, each with its own seed."""
    pooled: dict[str, Pooled] = {}
    for seed in range(seeds):
        torch.manual_seed(seed)
        for name, value in build().items():
            pooled.setdefault(name, Pooled()).add(value)
    return pooled


@dataclass(frozen=True)
class Verdict:
    """How one weight of ours compares; `excess` above 1 breaks a bound."""

    name: str
    shape: tuple[int, ...]
    ours: tuple[float, float]
    theirs: tuple[float, float]
    excess: float

    @property
    def line(self) -> str:
        """A row of the table."""
        (mean, std), (their_mean, their_std) = self.ours, self.theirs
        shape = "x".join(map(str, self.shape))
        return f"{self.name:34} {shape:>14} {std:10.3e} {their_std:10.3e} {mean:10.2e} {their_mean:10.2e}"


def compare(name: str, ours: Pooled, theirs: Pooled) -> Verdict:
    """Constants must be equal, drawn weights alike in std and mean."""
    numbers = (ours.mean, ours.std), (theirs.mean, theirs.std)
    constants = ours.first is not None, theirs.first is not None
    if any(constants):
        same = all(constants) and torch.equal(ours.first.flatten(), theirs.first.flatten())
        return Verdict(name, theirs.shape, *numbers, 0.0 if same else math.inf)
    if 0.0 in (ours.std, theirs.std):
        return Verdict(name, theirs.shape, *numbers, math.inf)
    bound = LOOSE if theirs.elements < SMALL_TENSOR else STRICT
    bound = max(bound, STD_ERRORS * math.hypot(ours.std_error, theirs.std_error))
    of_std = abs(ours.std / theirs.std - 1) / bound
    error = math.hypot(ours.std / math.sqrt(ours.count), theirs.std / math.sqrt(theirs.count))
    of_mean = abs(ours.mean - theirs.mean) / (MEAN_ERRORS * error)
    return Verdict(name, theirs.shape, *numbers, max(of_std, of_mean))
