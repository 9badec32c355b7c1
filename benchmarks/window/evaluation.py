"""Section `evaluate`: features in three precisions, and ranking on the CPU and on the device."""

import time
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.window.networks import make_recipe, operations
from benchmarks.window.session import DEVICE, Found, Session
from benchmarks.window.timing import clock, free, tf32
from trainables.data.reading import evaluation_inputs
from trainables.evaluation.evaluate import extract_features
from trainables.evaluation.task import Evaluation, by_name
from trainables.metrics.cross_role import cross_role_metrics
from trainables.models import build_model

# label -> whether TF32 is allowed, whether bfloat16 is used; the first is the reference
PRECISIONS = {"float32 (as it is)": (False, False), "TF32": (True, False), "bfloat16": (True, True)}
NUM_WORKS, NUM_ROLES = 30, 8  # of the random features to rank


def measure_evaluation(session: Session) -> Found:
    """Return images per second of feature extraction, the differences between precisions, and seconds of ranking."""
    found = {**_features(session), **_ranking(session)}
    free()
    return found


def _features(session: Session) -> Found:
    manifest, recipe = session.drawn(), make_recipe(session, "transreid-vit-stride")
    torch.manual_seed(0)
    model = build_model(recipe, 20).to(DEVICE).eval()
    inputs = evaluation_inputs(recipe, manifest, (), "decoded", threads=torch.get_num_threads())
    evaluation = Evaluation(manifest, "val", 0)
    indices = np.resize(np.concatenate([evaluation.query, evaluation.gallery]), 64 if session.tiny else 1024)
    found, reference = {}, None
    for label, (allowed, bf16) in PRECISIONS.items():

        def extract(allowed: bool = allowed, bf16: bool = bf16) -> torch.Tensor:
            with tf32(allowed), torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=bf16):
                return extract_features(model, inputs, indices, DEVICE)

        features = extract().float().cpu()
        seconds, _ = clock(extract, 1, rounds=1 if session.tiny else 2, warm_up=0)
        reference = features if reference is None else reference
        images_s = len(indices) / seconds
        found[label] = {
            "images_s": round(images_s, 1),
            "tflops": round(operations(recipe)[1] * images_s / 1e12, 1),
            "relative_difference": float((features - reference).norm() / reference.norm()),
        }
        session.note(f"evaluate {recipe.name} {label}: {images_s:.1f} images/s")
    return found


def _ranking(session: Session) -> Found:
    """Rank as many random features as LSASRD's largest fold has images."""
    queries, gallery, width = (100, 150, 64) if session.tiny else (3350, 5025, 3840)
    draws = np.random.default_rng(0)
    query_QD, gallery_GD = (_random_features(draws, number, width) for number in (queries, gallery))
    labels: dict[str, Any] = {
        "query_works": draws.integers(0, NUM_WORKS, queries),
        "gallery_works": draws.integers(0, NUM_WORKS, gallery),
        "query_roles": draws.integers(0, NUM_ROLES, queries),
        "gallery_roles": draws.integers(0, NUM_ROLES, gallery),
    }
    start = time.perf_counter()
    metrics = cross_role_metrics(query_QD.numpy(), gallery_GD.numpy(), **labels)
    cpu_s = round(time.perf_counter() - start, 2)
    query_QD, gallery_GD = query_QD.to(DEVICE), gallery_GD.to(DEVICE)
    device_s = round(clock(lambda: torch.cdist(query_QD, gallery_GD).sort(dim=1).values, 1)[0], 4)
    session.note(f"ranking {queries} x {gallery} x {width}: CPU {cpu_s} s, GPU {device_s} s")
    return {"ranking_cpu_s": cpu_s, "distances_and_sort_device_s": device_s, "mAP": by_name(metrics)["mAP"]}


def _random_features(draws: np.random.Generator, number: int, width: int) -> torch.Tensor:
    features = torch.from_numpy(draws.standard_normal((number, width), np.float32))
    return nn.functional.normalize(features, dim=1)
