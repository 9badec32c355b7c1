"""Evaluate a model on a split, by ranking works or identities or by classifying, and measure its latency.

Features and ranks stay on the device up to the metrics.

N and Q images, D feature dimension, C classes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.data.reading import Inputs
from trainables.device import Device
from trainables.distributed import ALONE, DistributedContext
from trainables.evaluation.evaluation import Evaluation, Metrics, by_name
from trainables.metrics.classification import classification_metrics
from trainables.metrics.cross_role import cross_role_metrics
from trainables.metrics.pairs import rank1_of_pairs
from trainables.models.model import Model
from trainables.recipes.recipe import Recipe

IMAGES_AT_ONCE = 256  # on a CPU; TEST.IMS_PER_BATCH in the papers' code
IMAGES_AT_ONCE_ON_GPU = 1024
IMAGES_OF_LATENCY = 64  # batch size; smaller if val has fewer images
REPEATS = 3  # of latency, after one warm-up; the fastest counts, because other load only makes runs slower

Network = Callable[[Tensor, Tensor | None], Tensor]  # images and words -> features or logits


@dataclass
class BatchSize:
    """The number of images per forward pass; when a GPU runs out of memory it halves, and it stays so."""

    images: int

    def run(self, network: Network, images_BHWC: Tensor, words_BL: Tensor | None) -> Tensor:
        """Return the network's outputs for a batch, in parts if it does not fit into memory at once.

        Raises:
            OutOfMemoryError: a single image does not fit.
        """
        while True:
            parts = torch.split(images_BHWC, self.images)
            words = [None] * len(parts) if words_BL is None else torch.split(words_BL, self.images)
            try:
                return torch.cat([network(*part) for part in zip(parts, words, strict=True)])
            except torch.OutOfMemoryError:
                if self.images == 1:
                    raise
                self.images //= 2


def first_batch_size(device: Device) -> BatchSize:
    """Return the batch size that evaluations on a device start with."""
    return BatchSize(IMAGES_AT_ONCE_ON_GPU if device.is_gpu else IMAGES_AT_ONCE)


def validation_precision(recipe: Recipe, epoch: int) -> str:
    """Return the precision in which a training validates an epoch, and in which its checkpoint is evaluated again.

    It is that of the training, which is fast; after the last epoch it is fp32, without TF32.
    """
    return recipe.precision if epoch < recipe.epochs else "fp32"


def evaluate(
    model: Model,
    evaluation: Evaluation,
    inputs: Inputs,
    device: Device,
    ranks: DistributedContext = ALONE,
    *,
    precision: str = "fp32",
    batch_size: BatchSize | None = None,
) -> Metrics:
    """Evaluate the model and return its metrics; the ranks share the images, and all get the metrics.

    Args:
        inputs: of all images of the evaluation's manifest.
        precision: of the backbone, as in a recipe; features and distances are float32.
        batch_size: where the next evaluation of the same network starts; None: as `first_batch_size`.

    Returns:
        Fractions in 0..1 by name: mAP, mINP and CMC with `num_valid_queries`, or accuracies, or `pairs_rank1`.
    """
    batch_size = batch_size or first_batch_size(device)
    if evaluation.ranks:
        own = ranks.share(evaluation.ranked_images)
        features_ND = extract_features(model, inputs, own, device, precision=precision, batch_size=batch_size)
        return metrics_of_features(ranks.gather(features_ND, len(evaluation.ranked_images)), evaluation)
    classes, images_of_class = evaluation.classes()
    own, own_classes = ranks.share(evaluation.query), torch.from_numpy(ranks.share(classes))
    places_N = _places_of_classes(model, inputs, own, own_classes, device, precision, batch_size)
    return classification_metrics(ranks.gather(places_N, len(classes)).cpu().numpy(), classes, images_of_class)


def metrics_of_features(features_ND: Tensor, evaluation: Evaluation) -> Metrics:
    """Return the metrics of the features of `evaluation.ranked_images`, which ranks them or compares pairs."""
    if len(evaluation.pairs):
        num_pairs = len(evaluation.pairs)
        probe, partner, distractors = np.split(features_ND.cpu().numpy(), [num_pairs, 2 * num_pairs])
        return {"pairs_rank1": rank1_of_pairs(probe, partner, distractors)}
    query_ND, gallery_ND = features_ND.tensor_split([len(evaluation.query)])
    return by_name(cross_role_metrics(query_ND, gallery_ND, **evaluation.labels), counted=True)


def extract_features(
    model: Model,
    inputs: Inputs,
    indices: np.ndarray,
    device: Device,
    *,
    precision: str = "fp32",
    batch_size: BatchSize | None = None,
) -> Tensor:
    """Compute the test features of some images, then restore the model's mode.

    Args:
        model: on `device`; it runs in evaluation mode.
        inputs: of all images of the manifest.
        indices: of the images, [N]; may be empty.
        device: where the images are moved to and the features are.
        precision: of the backbone, as in a recipe.
        batch_size: images per forward pass; None: as `first_batch_size`.

    Returns:
        Unit vectors, float32 [N, D], in the order of `indices`.
    """
    network = network_of(model, device, precision, ranks=True)
    found = [torch.empty(0, model.num_features, device=device.torch_device)]
    with evaluating(model):
        found += outputs_of(network, inputs, indices, device, batch_size or first_batch_size(device))
    return torch.cat(found)


def ms_per_image(
    model: Model,
    evaluation: Evaluation,
    inputs: Inputs,
    device: Device,
    *,
    precision: str = "fp32",
) -> float:
    """Measure the milliseconds per image to compute its feature or logits, for a batch that is already on the device.

    The network runs as in `evaluate`; reading and decoding are not included.

    Args:
        model: on `device`.
        evaluation: its first images form the batch; if it ranks, the features are computed, else the logits.
        inputs: of all images of the evaluation's manifest.
        device: of the model and the batch.
        precision: of the backbone, as in a recipe.
    """
    images_BHWC, words_BL = inputs.at(evaluation.images[:IMAGES_OF_LATENCY], device)
    network = network_of(model, device, precision, ranks=evaluation.ranks)
    seconds = []
    with evaluating(model):
        for _ in range(1 + REPEATS):
            device.synchronize()
            start = time.perf_counter()
            network(images_BHWC, words_BL)
            device.synchronize()
            seconds.append(time.perf_counter() - start)
    return 1000 * min(seconds[1:]) / len(images_BHWC)


def network_of(model: Model, device: Device, precision: str, *, ranks: bool) -> Network:
    """Return the function that computes features, or logits if the model does not rank.

    As in training, the backbone runs in the precision and the head in float32.

    Args:
        model: on `device`, in evaluation mode.
        device: where the images are.
        precision: as in a recipe.
        ranks: whether to return features [B, D] instead of logits [B, N].
    """

    def run(images_BHWC: Tensor, words_BL: Tensor | None) -> Tensor:
        with device.precision(precision):
            with device.autocast(precision):
                features = model.backbone(images_BHWC, words_BL)
            features = {name: value.float() if value.is_floating_point() else value for name, value in features.items()}
            found: Tensor = model.head.embed(features) if ranks else model.head(features).logits[0]  # type: ignore[operator]
        return found

    return run


def outputs_of(
    network: Network, inputs: Inputs, indices: np.ndarray, device: Device, batch_size: BatchSize
) -> Iterator[Tensor]:
    """Yield the network's outputs batch by batch; a GPU computes one batch while the host reads the next.

    Args:
        network: from `network_of`.
        inputs: of all images of the manifest.
        indices: of the images, [N]; may be empty.
        device: where the network runs.
        batch_size: of the next batch; it halves when memory runs out.
    """

    def read(start: int) -> tuple[Tensor, Tensor | None]:
        return inputs.at(indices[start : start + batch_size.images], device)

    start, batch = 0, read(0) if len(indices) else None
    while batch is not None:
        outputs_B = batch_size.run(network, *batch)
        start += len(outputs_B)
        batch = read(start) if start < len(indices) else None
        device.synchronize()  # so that no more than two batches are on the device
        yield outputs_B


def _places_of_classes(
    model: Model,
    inputs: Inputs,
    indices: np.ndarray,
    classes_N: Tensor,
    device: Device,
    precision: str,
    batch_size: BatchSize,
) -> Tensor:
    """Return the rank of the right class for each image, from 1, without keeping the logits."""
    network = network_of(model, device, precision, ranks=False)
    found, start = [torch.empty(0, dtype=torch.int64, device=device.torch_device)], 0
    classes_N = device.upload(classes_N)
    with evaluating(model):
        for logits_BC in outputs_of(network, inputs, indices, device, batch_size):
            found.append(places_of_classes(logits_BC, classes_N[start : start + len(logits_BC)]))
            start += len(logits_BC)
    return torch.cat(found)


def places_of_classes(logits_QC: Tensor, classes_Q: Tensor) -> Tensor:
    """Return the rank of the right class in the order of the logits, from 1; ties rank in the order of the classes."""
    own_Q1 = logits_QC.gather(1, classes_Q[:, None])
    before_QC = torch.arange(logits_QC.shape[1], device=logits_QC.device) < classes_Q[:, None]
    return ((logits_QC > own_Q1) | ((logits_QC == own_Q1) & before_QC)).sum(dim=1) + 1


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Run the model in evaluation mode and without gradients, then restore its mode."""
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        yield
    model.train(was_training)
