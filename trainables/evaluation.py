"""How good a model is on a split: features of its query and gallery, and the cross-role metrics of these.

N images, D width.
"""

import numpy as np
import torch
from torch import nn

from shards_tools.images import Images
from shards_tools.manifest import Manifest
from trainables.metrics.chance import chance_metrics
from trainables.metrics.cross_role import CrossRoleMetrics, cross_role_metrics

IMAGES_AT_ONCE = 256  # TEST.IMS_PER_BATCH of the papers' code


def extract_features(
    model: nn.Module,
    pixels: Images,
    indices: np.ndarray,
    device: torch.device | str,
    batch_size: int = IMAGES_AT_ONCE,
) -> np.ndarray:
    """The test features of these images in evaluation mode, float32 N x D; the model's mode is put back."""
    was_training = model.training
    model.eval()
    features = []
    with torch.inference_mode():
        for start in range(0, len(indices), batch_size):
            images_BHWC = torch.from_numpy(pixels[indices[start : start + batch_size]]).to(device)
            features.append(model(images_BHWC).float().cpu().numpy())
    model.train(was_training)
    return np.concatenate(features) if features else np.empty((0, int(model.num_features)), np.float32)  # type: ignore[arg-type]


def evaluate_split(
    model: nn.Module,
    pixels: Images,
    manifest: Manifest,
    query_indices: np.ndarray,
    gallery_indices: np.ndarray,
    device: torch.device | str,
) -> CrossRoleMetrics:
    """The cross-role metrics of ranking these gallery images for these query images."""
    features_ND = extract_features(model, pixels, np.concatenate([query_indices, gallery_indices]), device)
    num_queries = len(query_indices)
    query_roles, gallery_roles = _roles(manifest, query_indices, gallery_indices)
    return cross_role_metrics(
        features_ND[:num_queries],
        features_ND[num_queries:],
        query_works=manifest.work[query_indices],
        gallery_works=manifest.work[gallery_indices],
        query_roles=query_roles,
        gallery_roles=gallery_roles,
    )


def chance_on_split(manifest: Manifest, query_indices: np.ndarray, gallery_indices: np.ndarray) -> CrossRoleMetrics:
    """What `evaluate_split` gives on average for features that say nothing."""
    works, (query_roles, gallery_roles) = manifest.work, _roles(manifest, query_indices, gallery_indices)
    return chance_metrics(works[query_indices], works[gallery_indices], query_roles, gallery_roles)


def _roles(manifest: Manifest, query_indices: np.ndarray, gallery_indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The roles of queries and gallery; identities have none, and no image of the query's own is junk."""
    if manifest.layout == "identities":
        return np.zeros(len(query_indices), np.int64), np.ones(len(gallery_indices), np.int64)
    return manifest.role[query_indices], manifest.role[gallery_indices]


def by_name(metrics: CrossRoleMetrics) -> dict[str, float]:
    """The metrics under the names that reports and stores use: mAP, mINP, cmc_1 and so on."""
    return {"mAP": metrics.mAP, "mINP": metrics.mINP, **{f"cmc_{rank}": value for rank, value in metrics.cmc.items()}}
