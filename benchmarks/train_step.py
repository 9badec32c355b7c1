"""Our training step beside a plain restatement of upstream's: ViT-Base with JPM at stride 12, and AGW's ResNet50.

Images per second, the two interleaved in one run, as ratios; the memory that each takes alone; and the share that its
products reach of the rate at which this machine multiplies large matrices. Before that, both models must give the same
numbers and gradients from the same weights. Batches lie on the device already: ours as uint8, normalised and erased in
the step, upstream's as the float32 that its loader has normalised and erased.

On a GPU at full size, upstream in float16 and ours in bfloat16. Without one at a small size, with ViT-Small and on one
thread, upstream in float32, the only precision that it has there, and ours in float32 and in bfloat16.

Run: python benchmarks/train_step.py. Ends with 1 where a limit is broken.
"""

import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

# For a machine without the project installed; at the end, since `platform` is the standard library's before it is ours.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.upstream_models import UPSTREAM, UpstreamStep, take_weights, upstream_name
from trainables.batches import Batch
from trainables.losses.total import Losses
from trainables.models import build_model
from trainables.optimizer import build_optimizer
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.step import Step

NAMES = ("transreid-vit-stride", "agw-resnet50-nl")
NUM_WORKS = 152  # that LSASRD's code trains on
LR = 1e-6  # random pixels teach nothing, and must not drive the loss to infinity
MIN_RATIO = 1.5  # of images per second, ours to upstream's, on a GPU
# Relative differences in float32. One activation that rounding takes past zero moves a gradient by a thousandth.
TOLERANCES = {"features": 1e-4, "scores": 1e-4, "loss": 1e-5, "gradient": 1e-2}


@dataclass(frozen=True, kw_only=True)
class Size:
    """How much is measured."""

    image_size: int
    works_per_batch: int
    images_per_work: int
    backbones: dict[str, str] = field(default_factory=dict)  # recipe -> another than its own
    num_warm_up: int  # steps
    num_rounds: int
    steps_per_round: int
    matrix_width: int


FULL = Size(
    image_size=256, works_per_batch=16, images_per_work=4,
    num_warm_up=10, num_rounds=7, steps_per_round=10, matrix_width=8192,
)  # fmt: skip
# 112 px leave 81 patches: as with 441, one is doubled and two are left out
SMALL = Size(
    image_size=112, works_per_batch=4, images_per_work=2,
    backbones={"transreid-vit-stride": "vit_small_patch16_224"},
    num_warm_up=1, num_rounds=5, steps_per_round=1, matrix_width=2048,
)  # fmt: skip
ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")
SIZE = FULL if ON_GPU else SMALL

Side = tuple[str, str]  # whose step, in which precision
UPSTREAMS: Side = ("upstream", "float16" if ON_GPU else "float32")
OURS: list[Side] = [("ours", "bf16")] if ON_GPU else [("ours", "float32"), ("ours", "bf16")]
DTYPES = {"float16": torch.float16, "bf16": torch.bfloat16, "float32": torch.float32}


def make_recipe(name: str, size: Size, **values: object) -> Any:
    """The recipe at this size, from fresh weights."""
    sizes = {key: getattr(size, key) for key in ("image_size", "works_per_batch", "images_per_work")}
    backbone = {"backbone": size.backbones[name]} if name in size.backbones else {}
    return override(get_recipe(name), {**sizes, **backbone, "pretrained": False, "lr": LR, **values})


def draw_batch(recipe: Any) -> Batch:
    """Random pixels, and the works of P x K images."""
    images_BHWC = torch.randint(256, (recipe.batch_size, recipe.image_size, recipe.image_size, 3), dtype=torch.uint8)
    return Batch(images_BHWC, torch.arange(recipe.works_per_batch).repeat_interleave(recipe.images_per_work))


def normalise(images_BHWC: Tensor, recipe: Any) -> Tensor:
    """What upstream's loader gives, B x C x H x W."""
    images_BCHW = images_BHWC.permute(0, 3, 1, 2).float().contiguous() / 255
    mean, std = (torch.tensor(value)[:, None, None] for value in (recipe.pixel_mean, recipe.pixel_std))
    return (images_BCHW - mean) / std


def make_step(name: str, side: Side) -> Callable[[], object]:
    """The step of a fresh model in training mode, with its batch on the device."""
    whose, precision = side
    recipe = make_recipe(name, SIZE, precision="bf16" if precision == "bf16" else "float32")
    batch = draw_batch(recipe)
    if whose == "upstream":
        peer = UPSTREAM[recipe.system](recipe, NUM_WORKS).to(DEVICE).train()
        images_BCHW, works_B = normalise(batch.images, recipe).to(DEVICE), batch.labels.to(DEVICE)
        return partial(UpstreamStep(recipe, peer, DEVICE), images_BCHW, works_B)
    model = build_model(recipe, NUM_WORKS).to(DEVICE).train()
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    losses = Losses(recipe, NUM_WORKS, int(model.backbone.width)).to(DEVICE)  # type: ignore[arg-type]
    return partial(Step(recipe, model, losses, build_optimizer(model, recipe)), batch.to(DEVICE), "in the benchmark")


def seconds(run: Callable[[], object], num_times: int) -> float:
    """The wall time of so many runs."""
    start = time.perf_counter()
    for _ in range(num_times):
        run()
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_bytes(name: str, side: Side) -> int:
    """The most memory that weights, optimizer and steps of one side take: of the GPU, or of a process of its own."""
    if not ON_GPU:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(growth_bytes, name, side).result()
    gc.collect()  # of the sides before
    before = torch.cuda.memory_allocated()
    step = make_step(name, side)
    seconds(step, SIZE.num_warm_up)
    torch.cuda.reset_peak_memory_stats()  # what cuDNN tries out in the first steps does not count
    seconds(step, 3)
    return torch.cuda.max_memory_allocated() - before


def growth_bytes(name: str, side: Side) -> int:
    """By how much this process grows, at most, while a side is built and steps."""
    torch.set_num_threads(1)
    unit = 1 if sys.platform == "darwin" else 1024  # kilobytes on Linux
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds(make_step(name, side), 2)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit


def matrix_rate(precision: str) -> float:
    """Floating point operations per second of large square products, the median of ten."""
    width = SIZE.matrix_width
    left, right = (torch.randn(width, width, device=DEVICE).to(DTYPES[precision]) for _ in range(2))
    times = [seconds(lambda: left @ right, 1) for _ in range(13)]
    return 2 * width**3 / statistics.median(times[3:])


def count_operations(name: str, whose: str) -> float:
    """Floating point operations per image of a step's products, forward and back, worked out from shapes alone.

    What a fused kernel works out again on the way back does not count.
    """
    recipe = make_recipe(name, SIZE, erase_probability=0.0)
    images = draw_batch(recipe).images
    with FlopCounterMode(display=False) as counter:
        if whose == "upstream":
            peer = UPSTREAM[recipe.system](recipe, NUM_WORKS).to("meta").train()
            scores, _ = peer(normalise(images, recipe).to("meta"))
        else:
            scores = build_model(recipe, NUM_WORKS).to("meta").train()(images.to("meta")).logits
        torch.stack(scores).sum().backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) / len(images)


def check_same(name: str) -> dict[str, float]:
    """How far both are apart in float32 with equal weights, relatively; raises where that is too far.

    Nothing is dropped or erased.
    """
    changes = {} if name.startswith("agw") else {"drop_path": 0.0}
    recipe = make_recipe(name, SMALL, precision="float32", erase_probability=0.0, **changes)
    model, peer = build_model(recipe, NUM_WORKS).train(), UPSTREAM[recipe.system](recipe, NUM_WORKS).train()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if key.endswith("bn3.weight"):
                weight.zero_()  # the sum of all blocks at full scale leaves float32 too few digits to compare gradients
            # fresh norms, biases and classifiers of nearly 0 would hide differences
            if weight.requires_grad and (weight.ndim == 1 or "classifiers" in key):
                weight.add_(torch.randn_like(weight), alpha=0.05)
    take_weights(peer, model.state_dict())
    batch = draw_batch(recipe)
    outputs, (scores, features) = model(batch.images), peer(normalise(batch.images, recipe))
    losses = Losses(recipe, NUM_WORKS, int(model.backbone.width))  # type: ignore[arg-type]
    loss, peer_loss = losses(outputs, batch.labels)["loss"], peer.loss(scores, features, batch.labels)
    (loss + peer_loss).backward()
    of_peer = dict(peer.named_parameters())
    trained = {key: weight.grad for key, weight in model.named_parameters() if weight.requires_grad}
    apart = {
        "features": relative(outputs.features, features),
        "scores": relative(outputs.logits, scores),
        "loss": relative([loss], [peer_loss]),
        "gradient": relative(list(trained.values()), [of_peer[upstream_name(peer, key)].grad for key in trained]),
    }
    if not all(apart[key] <= tolerance for key, tolerance in TOLERANCES.items()):
        raise ArithmeticError(f"{name}: the restatement of upstream computes something else: {apart}.")
    return apart


def relative(ours: list[Any], peers: list[Any]) -> float:
    """The length of the difference of all these numbers over the length of the peer's."""
    own, other = (torch.cat([value.detach().flatten() for value in values]) for values in (ours, peers))
    return float((own - other).norm() / other.norm())


def compare(name: str, taken: dict[Side, int], rates: dict[str, float]) -> bool:
    """Run the steps of one recipe in turn and print how they do; False where a limit is broken."""
    steps = {side: make_step(name, side) for side in taken}
    for step in steps.values():
        seconds(step, SIZE.num_warm_up)
    images = SIZE.steps_per_round * SIZE.works_per_batch * SIZE.images_per_work
    rounds = [
        {side: images / seconds(step, SIZE.steps_per_round) for side, step in steps.items()}
        for _ in range(SIZE.num_rounds)
    ]
    recipe = make_recipe(name, SIZE)
    print(f"\n{name}: {recipe.backbone}, batches of {recipe.batch_size} at {SIZE.image_size} px, {len(rounds)} rounds")
    print("                  images/s  GFLOP/image  of matrix rate  peak memory")
    slowest = float("inf")
    for side in steps:
        speed, operations = statistics.median(speeds[side] for speeds in rounds), count_operations(name, side[0])
        share = speed * operations / rates[side[1]]
        row = f"{' '.join(side):17}{speed:9.1f}{operations / 1e9:13.1f}{share:16.0%}{taken[side] / 1e9:10.2f} GB"
        if side[0] == "ours":
            ratios = [speeds[side] / speeds[UPSTREAMS] for speeds in rounds]
            slowest = min(slowest, statistics.median(ratios))
            limit = f", limit {MIN_RATIO}" if ON_GPU else ""
            row += f"  {statistics.median(ratios):.2f} x upstream ({min(ratios):.2f} to {max(ratios):.2f}{limit})"
        print(row)
    return slowest >= MIN_RATIO or not ON_GPU


def main() -> None:
    """Print the comparison, and exit with 1 where a limit is broken."""
    # a fresh process counts from the size of its parent, which grows from here on
    taken = {name: {side: peak_bytes(name, side) for side in (UPSTREAMS, *OURS)} for name in NAMES}
    torch.manual_seed(0)
    if not ON_GPU:
        torch.set_num_threads(1)
    for name in NAMES:
        differences = ", ".join(f"{key} {value:.0e}" for key, value in check_same(name).items())
        print(f"{name}, equal weights in float32, ours and upstream's differ relatively by: {differences}")
    rates = {precision: matrix_rate(precision) for _, precision in (UPSTREAMS, *OURS)}
    said = ", ".join(f"{rate / 1e12:.3g} TFLOP/s in {precision}" for precision, rate in rates.items())
    where = torch.cuda.get_device_name() if ON_GPU else "one CPU thread"
    print(f"{where}, torch {torch.__version__}; matrices {SIZE.matrix_width} wide multiply at {said}")
    print("ours normalises and erases its images in the step, upstream's are normalised and erased before it")
    results = [compare(name, taken[name], rates) for name in NAMES]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
