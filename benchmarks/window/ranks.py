"""Section `nccl`: distributed training as far as one GPU allows. NCCL rejects two ranks on one GPU."""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.window.children import Child
from benchmarks.window.networks import build_parts, make_recipe, random_batch
from benchmarks.window.session import DEVICE, ON_GPU, Found, Session
from benchmarks.window.timing import clock
from trainables.device import Device
from trainables.distributed import DistributedContext, group, open_meeting
from trainables.training.step import Step

NUM_WORKS = 20
HOST = "127.0.0.1"
CASES: tuple[tuple[str, dict[str, object]], ...] = (
    ("transreid-vit-base", {}),
    ("agw-resnet50", {}),
    ("agw-resnet50", {"activation_checkpointing": True}),
    ("transreid-vit-base", {"compiled": True}),
)


class WrappedAlone(DistributedContext):
    """One rank that is wrapped in DDP nevertheless."""

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module in DDP."""
        return DistributedDataParallel(module, gradient_as_bucket_view=True)


def measure_ranks(session: Session) -> Found:
    """Return losses and milliseconds of each case in a group of one rank, in a separate process."""
    found = {
        f"{name} {settings}": Child(session, "nccl", name=name, settings=settings).result(timeout_s=100)
        for name, settings in CASES
        if not (session.tiny and settings.get("compiled"))
    }
    bad = [case for case, row in found.items() if "losses" not in row]
    failures = "".join(f"; fails: {case}" for case in bad)
    session.note(f"nccl: {len(found) - len(bad)} of {len(found)} run{failures}")
    return found


def train_alone(session: Session, name: str, settings: dict[str, Any]) -> Found:
    """Train three steps in a group of one rank with DDP and synchronized batch norms; runs in a child."""
    meeting = open_meeting(HOST, 1)
    with group(HOST, meeting.port, 0, 1):
        flag = torch.tensor([True], device=DEVICE)
        gathered = [torch.empty_like(flag)]
        dist.all_gather(gathered, flag)
        recipe = make_recipe(session, name, lr=1e-4, works_per_batch=4, images_per_work=4, **settings)
        model, losses, optimizer = build_parts(recipe, NUM_WORKS)
        if ON_GPU:
            model.backbone = nn.SyncBatchNorm.convert_sync_batchnorm(model.backbone)  # type: ignore[no-untyped-call]
        step = Step(recipe, model, losses, optimizer, WrappedAlone())
        batch = random_batch(recipe, NUM_WORKS).to(Device())
        found = {
            "backend": dist.get_backend(),
            "flag": bool(gathered[0]),
            "losses": [step(batch)["loss"].item() for _ in range(3)],
        }
        return {**found, "ms": round(1e3 * clock(lambda: step(batch), 2)[0], 2)}
