"""The learning rate of every epoch or step of whole schedules, one recipe of each kind, beside the restated laws."""

import math
from typing import Any

import pytest

from tests.trainables.parity import schedules
from trainables.recipes import get_recipe
from trainables.training.schedule import Moment, learning_rate

TOLERANCE = 1e-12
STEPS = 3  # of an epoch, where the rate changes at epochs alone
BIASES = 2.0  # TransReID's factor for biases

CASES = (
    *(
        (f"transreid-vit-base{preset}", factor, law(0.008, epochs, factor))
        for preset, law, epochs in (("", schedules.lsasrd_cosine, 100), ("-upstream", schedules.transreid, 120))
        for factor in (1.0, BIASES)
    ),
    *(
        ("transreid-vit-base-code", factor, schedules.multistep(0.008, 100, (30, 60), 500, 1 / 3, factor))
        for factor in (1.0, BIASES)
    ),
    ("transreid-vit-small", 1.0, schedules.lsasrd_cosine(0.005, 100, 1.0)),
    ("transreid-deit-small-upstream", BIASES, schedules.transreid(0.005, 120, BIASES)),
    ("agw-resnet50", 1.0, schedules.multistep(0.01, 100, (40, 80), 10, 0.01, 1.0)),
    ("agw-resnet50-code", 1.0, schedules.multistep(0.01, 100, (30, 60), 10, 0.01, 1.0)),
    ("agw-resnet50-nl-code", 1.0, schedules.multistep(0.01, 100, (40, 80), 10, 0.01, 1.0)),
    *(
        (f"agw-{row}-upstream", 1.0, schedules.multistep(3.5e-4, 120, (40, 70), 10, 0.01, 1.0, first=1))
        for row in ("resnet50", "resnet50-nl", "se-resnet50", "resnet50-ibn-a")
    ),
    ("dafre-128-b16", 1.0, schedules.thirds(0.001, 50, 20)),
    ("dafre-128-r18-upstream", 1.0, schedules.thirds(0.001, 50, 20)),
    ("moeimouto-128-b16", 1.0, schedules.thirds(0.001, 200, 50)),
    ("dafre-224-sn", 1.0, schedules.thirds(0.001, 200, 50)),
    ("icartoonface-resnet50", 1.0, schedules.piecewise(120)),
)


@pytest.mark.parametrize(("name", "factor", "rates"), CASES, ids=[f"{name}-{factor:g}" for name, factor, _ in CASES])
def test_the_rate_of_every_epoch_is_upstreams(name: str, factor: float, rates: list[float]) -> None:
    recipe: Any = get_recipe(name)
    assert recipe.epochs == len(rates)
    for epoch, theirs in enumerate(rates, start=1):
        ours = [learning_rate(recipe, Moment(epoch, step, STEPS), factor) for step in range(STEPS)]
        assert ours == pytest.approx([theirs] * STEPS, rel=0, abs=TOLERANCE), f"epoch {epoch}"


@pytest.mark.parametrize("name", ["animesion-l16", "animesion-b16-ifa", "animesion-b16-vilt"])
@pytest.mark.parametrize("steps_per_epoch", [7, 101])
def test_the_rate_of_every_step_is_animesions(name: str, steps_per_epoch: int) -> None:
    recipe: Any = get_recipe(name)
    theirs = schedules.warmup_cosine(0.001, recipe.epochs * steps_per_epoch, 1000) if steps_per_epoch > 20 else None
    for number in range(recipe.epochs * steps_per_epoch):
        moment = Moment(1 + number // steps_per_epoch, number % steps_per_epoch, steps_per_epoch)
        # a training shorter than the warm-up never leaves it
        wanted = 0.001 * number / 1000 if theirs is None else theirs[number]
        assert math.isclose(learning_rate(recipe, moment), wanted, rel_tol=0, abs_tol=TOLERANCE), number
