"""A restatement of upstream's learning rates, epoch by epoch or step by step; shares no code with ours.

Every law gives the rates of a whole training as a list, for weights whose own rate is `factor` times the base.
"""

import math


def multistep(
    base: float, epochs: int, milestones: tuple[int, ...], warmup: int, start: float, factor: float, first: int = 0
) -> list[float]:
    """The programs' WarmupMultiStepLR: a linear warm-up from `start` of it, a tenth behind each milestone.

    Args:
        first: the number of the first epoch: LSASRD's program counts from 0; AGW's advances as the first epoch starts.
    """
    rates = []
    for epoch in range(first, first + epochs):
        rate = factor * base
        if epoch < warmup:
            rate *= start * (1 - epoch / warmup) + epoch / warmup
        for milestone in milestones:
            if milestone <= epoch:
                rate *= 0.1
        rates.append(rate)
    return rates


def transreid(base: float, epochs: int, factor: float) -> list[float]:
    """TransReID's program: set as each epoch t = 1.. starts; a warm-up of five epochs from base / 100, then a cosine.

    Neither the start nor the floor of base / 500 knows the factor; the warm-up is part of the cosine's length.
    """
    rates = []
    for t in range(1, epochs + 1):
        if t < 5:
            rates.append(0.01 * base + t * (factor * base - 0.01 * base) / 5)
        else:
            rates.append(0.002 * base + 0.5 * (factor - 0.002) * base * (1 + math.cos(math.pi * t / epochs)))
    return rates


def lsasrd_cosine(base: float, epochs: int, factor: float) -> list[float]:
    """LSASRD's text: from a third of the rate over five epochs, then TransReID's cosine."""
    rates = transreid(base, epochs, factor)
    for epoch in range(5):
        rates[epoch] = factor * base * (1 / 3 + 2 / 3 * epoch / 5)
    return rates


def thirds(base: float, epochs: int, per_fall: int) -> list[float]:
    """DAF:re's program: divided by 3 at the end of every `per_fall`-th epoch."""
    rates, rate = [], base
    for epoch in range(1, epochs + 1):
        rates.append(rate)
        if epoch % per_fall == 0:
            rate /= 3
    return rates


def warmup_cosine(base: float, steps: int, warmup: int) -> list[float]:
    """Animesion's program: from 0 in `warmup` steps, then half a cosine to 0."""
    rates = []
    for step in range(steps):
        if step < warmup:
            rates.append(base * step / warmup)
        else:
            rates.append(base * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))))
    return rates


def piecewise(epochs: int) -> list[float]:
    """PaddleClas's file: .1, .01, .001 and .0001, changing after 30, 60 and 90 epochs."""
    return [(0.1, 0.01, 0.001, 0.0001)[(epoch >= 30) + (epoch >= 60) + (epoch >= 90)] for epoch in range(epochs)]
