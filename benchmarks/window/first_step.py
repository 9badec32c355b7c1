"""Section `one_step`: what `--dry-run` and `--concurrency auto` measure, compared with a warm training step."""

from dataclasses import asdict

from benchmarks.window.children import Child
from benchmarks.window.networks import build_step, make_recipe, random_batch
from benchmarks.window.session import Found, Session
from benchmarks.window.timing import clock
from trainables.device import Device
from trainables.profiling.measure_step import measure

NAMES = ("transreid-vit-stride", "agw-resnet50")
MEMORY_BYTES = 8 * 10**9  # of the host


def measure_first_steps(session: Session) -> Found:
    """Return the measurement of each recipe, made in a separate process as in a search."""
    session.drawn_shards()
    return {
        make_recipe(session, name).name: Child(session, "one_step", name=name).result(timeout_s=90) for name in NAMES
    }


def measure_first_step(session: Session, name: str) -> Found:
    """Return the project's measurement of one step, seconds of a warm step, and their ratio; runs in a child."""
    recipe = make_recipe(session, name, images_per_epoch=128 if session.tiny else 1280)
    found = asdict(measure(recipe, session.drawn(), fold=0, seed=0, reading="auto", memory_bytes=MEMORY_BYTES))
    step, batch = build_step(recipe), random_batch(recipe).to(Device())
    seconds, _ = clock(lambda: step(batch), 2 if session.tiny else 10, warm_up=2)
    return {**found, "warm_step_s": seconds, "factor": found["step_s"] / seconds}
