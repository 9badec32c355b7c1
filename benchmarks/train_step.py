"""Our training step compared with a plain reimplementation of upstream's: ViT-Base with JPM, and AGW's ResNet50.

Both are interleaved in one run. It reports images per second as ratios, the memory that each takes alone, and the share
of this machine's rate for large matrix products that each reaches. Before that, it checks that both models give the
same outputs and gradients from the same weights. Batches are already on the device: ours as uint8, normalized and
erased in the step; upstream's as float32, normalized and erased by its loader.

On a GPU it runs at full size (stride 12), upstream in float16 and ours in bfloat16. Without one it runs ViT-Small at a
small size on one thread, upstream in float32, its only precision there, and ours in float32 and in bfloat16.

Run: python benchmarks/train_step.py. Exits with 1 if a limit is exceeded.
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

# For machines without the project installed. Appended, because `platform` must first resolve to the standard library's.
sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.upstream_models import UPSTREAM, UpstreamStep, take_weights, upstream_name
from trainables.data.batches import Batch
from trainables.device import Device
from trainables.losses.criterion import Criterion
from trainables.models import build_model
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.optimizer import build_optimizer
from trainables.training.step import Step

NAMES = ("transreid-vit-stride", "agw-resnet50-nl")
NUM_WORKS = 152  # as in LSASRD's code
LR = 1e-6  # random pixels must not drive the loss to infinity
MIN_RATIO = 1.5  # images per second, ours over upstream's, on a GPU
# Relative differences in float32. One activation that rounding moves past zero changes a gradient by a thousandth.
TOLERANCES = {"features": 1e-4, "scores": 1e-4, "loss": 1e-5, "gradient": 1e-2}


@dataclass(frozen=True, kw_only=True)
class Size:
    """The size of the measurement."""

    image_size: int
    works_per_batch: int
    images_per_work: int
    backbones: dict[str, str] = field(default_factory=dict)  # recipe -> backbone to use instead
    num_warm_up: int  # steps
    num_rounds: int
    steps_per_round: int
    matrix_width: int


FULL = Size(
    image_size=256, works_per_batch=16, images_per_work=4,
    num_warm_up=10, num_rounds=7, steps_per_round=10, matrix_width=8192,
)  # fmt: skip
# 112 px give 81 patches: as with 441, one is repeated and two are dropped
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
    """Return the recipe at this size, with fresh weights."""
    sizes = {key: getattr(size, key) for key in ("image_size", "works_per_batch", "images_per_work")}
    backbone = {"backbone": size.backbones[name]} if name in size.backbones else {}
    return override(get_recipe(name), {**sizes, **backbone, "pretrained": False, "lr": LR, **values})


def draw_batch(recipe: Any) -> Batch:
    """Return random pixels, and the works of P x K images."""
    images_BHWC = torch.randint(256, (recipe.batch_size, *recipe.size, 3), dtype=torch.uint8)
    return Batch(images_BHWC, torch.arange(recipe.works_per_batch).repeat_interleave(recipe.images_per_work))


def normalize(images_BHWC: Tensor, recipe: Any) -> Tensor:
    """Return what upstream's loader returns, B x C x H x W."""
    images_BCHW = images_BHWC.permute(0, 3, 1, 2).float().contiguous() / 255
    mean, std = (torch.tensor(value)[:, None, None] for value in (recipe.pixel_mean, recipe.pixel_std))
    return (images_BCHW - mean) / std


def make_step(name: str, side: Side) -> Callable[[], object]:
    """Return the step of a new model in training mode, with its batch on the device."""
    whose, precision = side
    recipe = make_recipe(name, SIZE, precision="bf16" if precision == "bf16" else "fp32")
    batch = draw_batch(recipe)
    if whose == "upstream":
        peer = UPSTREAM[recipe.system](recipe, NUM_WORKS).to(DEVICE).train()
        images_BCHW, works_B = normalize(batch.images, recipe).to(DEVICE), batch.labels.to(DEVICE)
        return partial(UpstreamStep(recipe, peer, DEVICE), images_BCHW, works_B)
    model = build_model(recipe, NUM_WORKS).to(DEVICE).train()
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    losses = Criterion(recipe, NUM_WORKS, int(model.backbone.width)).to(DEVICE)  # type: ignore[arg-type]
    return partial(Step(recipe, model, losses, build_optimizer(model, recipe)), batch.to(Device()))


def seconds(run: Callable[[], object], num_times: int) -> float:
    """Return the wall time of `num_times` runs."""
    start = time.perf_counter()
    for _ in range(num_times):
        run()
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_bytes(name: str, side: Side) -> int:
    """Return the peak memory of weights, optimizer and steps of one side: of the GPU, or of a separate process."""
    if not ON_GPU:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            return process.submit(growth_bytes, name, side).result()
    gc.collect()  # of the previous sides
    before = torch.cuda.memory_allocated()
    step = make_step(name, side)
    seconds(step, SIZE.num_warm_up)
    torch.cuda.reset_peak_memory_stats()  # excludes cuDNN's benchmarking in the first steps
    seconds(step, 3)
    return torch.cuda.max_memory_allocated() - before


def growth_bytes(name: str, side: Side) -> int:
    """Return the peak growth of this process while a side is built and takes steps."""
    torch.set_num_threads(1)
    unit = 1 if sys.platform == "darwin" else 1024  # kilobytes on Linux
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds(make_step(name, side), 2)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit


def matrix_rate(precision: str) -> float:
    """Return the FLOP/s of large square products, the median of ten."""
    width = SIZE.matrix_width
    left, right = (torch.randn(width, width, device=DEVICE).to(DTYPES[precision]) for _ in range(2))
    times = [seconds(lambda: left @ right, 1) for _ in range(13)]
    return 2 * width**3 / statistics.median(times[3:])


def count_operations(name: str, whose: str) -> float:
    """Return the FLOP per image of a step's products, forward and backward, from shapes alone.

    Recomputation inside fused kernels is not counted.
    """
    recipe = make_recipe(name, SIZE, erase_probability=0.0)
    images = draw_batch(recipe).images
    with FlopCounterMode(display=False) as counter:
        if whose == "upstream":
            peer = UPSTREAM[recipe.system](recipe, NUM_WORKS).to("meta").train()
            scores, _ = peer(normalize(images, recipe).to("meta"))
        else:
            scores = build_model(recipe, NUM_WORKS).to("meta").train()(images.to("meta")).logits
        torch.stack(scores).sum().backward()  # type: ignore[no-untyped-call]
    return float(counter.get_total_flops()) / len(images)


def check_same(name: str) -> dict[str, float]:
    """Return the relative differences in float32 with equal weights, without dropout and erasing.

    Raises:
        ArithmeticError: a difference is too large.
    """
    changes = {} if name.startswith("agw") else {"drop_path": 0.0}
    recipe = make_recipe(name, SMALL, precision="fp32", erase_probability=0.0, **changes)
    model, peer = build_model(recipe, NUM_WORKS).train(), UPSTREAM[recipe.system](recipe, NUM_WORKS).train()
    with torch.no_grad():
        for key, weight in model.named_parameters():
            if key.endswith("bn3.weight"):
                weight.zero_()  # at full scale, the sum of all blocks leaves float32 too few digits for gradients
            # fresh norms, biases and classifiers of nearly 0 would hide differences
            if weight.requires_grad and (weight.ndim == 1 or "classifiers" in key):
                weight.add_(torch.randn_like(weight), alpha=0.05)
    take_weights(peer, model.state_dict())
    batch = draw_batch(recipe)
    outputs, (scores, features) = model(batch.images), peer(normalize(batch.images, recipe))
    losses = Criterion(recipe, NUM_WORKS, int(model.backbone.width))  # type: ignore[arg-type]
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
        raise ArithmeticError(f"{name}: the reimplementation of upstream differs from ours: {apart}.")
    return apart


def relative(ours: list[Any], peers: list[Any]) -> float:
    """Return the norm of the difference of all these numbers over the norm of the peer's."""
    own, other = (torch.cat([value.detach().flatten() for value in values]) for values in (ours, peers))
    return float((own - other).norm() / other.norm())


def compare(name: str, taken: dict[Side, int], rates: dict[str, float]) -> bool:
    """Run the steps of one recipe in turn and print the results; return False if a limit is exceeded."""
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
    """Print the comparison, and exit with 1 if a limit is exceeded."""
    # a new process counts from the size of its parent, which grows from here on
    taken = {name: {side: peak_bytes(name, side) for side in (UPSTREAMS, *OURS)} for name in NAMES}
    torch.manual_seed(0)
    if not ON_GPU:
        torch.set_num_threads(1)
    for name in NAMES:
        differences = ", ".join(f"{key} {value:.0e}" for key, value in check_same(name).items())
        print(f"{name}: relative differences between ours and upstream's in float32, with equal weights: {differences}")
    rates = {precision: matrix_rate(precision) for _, precision in (UPSTREAMS, *OURS)}
    said = ", ".join(f"{rate / 1e12:.3g} TFLOP/s in {precision}" for precision, rate in rates.items())
    where = torch.cuda.get_device_name() if ON_GPU else "one CPU thread"
    print(f"{where}, torch {torch.__version__}; matrices of width {SIZE.matrix_width} multiply at {said}")
    print("ours normalizes and erases its images in the step, upstream's are normalized and erased before it")
    results = [compare(name, taken[name], rates) for name in NAMES]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
