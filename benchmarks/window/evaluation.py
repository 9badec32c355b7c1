"""Section `evaluate`: features in three precisions, and ranking on the CPU and on the device.

`evaluation_s` is what an evaluation of as many images as LSASRD's largest fold has takes, from uint8 images to metrics:
their number divided by the images per second in the training's precision, plus the ranking. The section `rows` times
whole epochs of the same recipes: the target is a fifth of an epoch.
"""

import time
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.window.networks import make_recipe, operations
from benchmarks.window.session import DEVICE, Found, Session
from benchmarks.window.timing import clock, free
from trainables.data.reading import evaluation_inputs
from trainables.device import Device
from trainables.evaluation.evaluate import extract_features, first_batch_size
from trainables.evaluation.evaluation import Evaluation
from trainables.metrics.cross_role import cross_role_metrics
from trainables.models import build_model

# label -> precision of a recipe; the first is the reference
PRECISIONS = {"float32": "fp32", "TF32": "tf32", "bfloat16": "bf16"}
NUM_QUERIES, NUM_GALLERY = 3350, 5025  # of LSASRD's largest fold
NUM_IMAGES = NUM_QUERIES + NUM_GALLERY
NUM_WORKS, NUM_ROLES = 30, 8  # of the random features to rank


def measure_evaluation(session: Session) -> Found:
    """Return images per second of feature extraction, the differences between precisions, and seconds of ranking."""
    found = {**_features(session), **_ranking(session)}
    found["evaluation_s"] = round(NUM_IMAGES / found["bfloat16"]["images_s"] + found["ranking_device_s"], 2)
    session.note(f"evaluation of {NUM_IMAGES} images: {found['evaluation_s']} s")
    free()
    return found


def _features(session: Session) -> Found:
    manifest, recipe = session.drawn(), make_recipe(session, "transreid-vit-stride")
    torch.manual_seed(0)
    model = build_model(recipe, 20).to(DEVICE).eval()
    inputs = evaluation_inputs(recipe, manifest, (), "decoded", threads=torch.get_num_threads())
    evaluation = Evaluation(manifest, "val", 0)
    batch_size = first_batch_size(Device())
    indices = np.resize(evaluation.images, 64 if session.tiny else 2 * batch_size.images)
    found, reference = {}, None
    for label, precision in PRECISIONS.items():

        def extract(precision: str = precision) -> torch.Tensor:
            return extract_features(model, inputs, indices, Device(), precision=precision, batch_size=batch_size)

        features = extract().float().cpu()
        seconds, _ = clock(extract, 1, rounds=1 if session.tiny else 2, warm_up=0)
        reference = features if reference is None else reference
        images_s = len(indices) / seconds
        found[label] = {
            "images_s": round(images_s, 1),
            "tflops": round(operations(recipe)[1] * images_s / 1e12, 1),
            "relative_difference": float((features - reference).norm() / reference.norm()),
            "images_at_once": batch_size.images,
        }
        session.note(f"evaluate {recipe.name} {label}: {images_s:.1f} images/s")
    return found


def _ranking(session: Session) -> Found:
    """Rank as many random features as LSASRD's largest fold has images."""
    queries, gallery, width = (100, 150, 64) if session.tiny else (NUM_QUERIES, NUM_GALLERY, 3840)
    draws = np.random.default_rng(0)
    query_QD, gallery_GD = (_random_features(draws, number, width) for number in (queries, gallery))
    labels: dict[str, Any] = {
        "query_works": draws.integers(0, NUM_WORKS, queries),
        "gallery_works": draws.integers(0, NUM_WORKS, gallery),
        "query_roles": draws.integers(0, NUM_ROLES, queries),
        "gallery_roles": draws.integers(0, NUM_ROLES, gallery),
    }
    start = time.perf_counter()
    on_cpu = cross_role_metrics(query_QD, gallery_GD, **labels)
    cpu_s = round(time.perf_counter() - start, 2)
    query_QD, gallery_GD = query_QD.to(DEVICE), gallery_GD.to(DEVICE)
    device_s = round(clock(lambda: cross_role_metrics(query_QD, gallery_GD, **labels), 1)[0], 4)
    product_s = round(clock(lambda: query_QD @ gallery_GD.T, 1)[0], 4)
    on_device = cross_role_metrics(query_QD, gallery_GD, **labels)
    session.note(f"ranking {queries} x {gallery} x {width}: CPU {cpu_s} s, device {device_s} s, product {product_s} s")
    return {
        "ranking_cpu_s": cpu_s,
        "ranking_device_s": device_s,
        "product_device_s": product_s,
        "mAP": on_cpu.mAP,
        "mAP_device_difference": on_device.mAP - on_cpu.mAP,
    }


def _random_features(draws: np.random.Generator, number: int, width: int) -> torch.Tensor:
    features = torch.from_numpy(draws.standard_normal((number, width), np.float32))
    return nn.functional.normalize(features, dim=1)
