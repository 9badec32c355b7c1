"""Evaluation with flip augmentation, query expansion and re-ranking, against loops over single images."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.sources import folder, lsasrd
from tests.trainables.conftest import draw_stripes
from trainables.data.reading import evaluation_inputs
from trainables.device import Device
from trainables.evaluation.evaluate import evaluate
from trainables.evaluation.evaluation import Evaluation, by_name
from trainables.evaluation.options import EvaluationOptions, evaluate_with
from trainables.metrics.cross_role import cross_role_metrics, metrics_of
from trainables.metrics.expansion import expand_features
from trainables.metrics.labels import read_labels
from trainables.metrics.rerank import RerankedDistances
from trainables.models import build_model


@pytest.fixture(scope="module")
def works(tmp_path_factory):
    """Shards of 10 works of 3 roles of 4 images, all of noise around a color, so that rankings have errors."""
    source = tmp_path_factory.mktemp("works")
    draw = np.random.default_rng(0)
    for work in range(10):
        for role in range(1, 4):
            place = source / "ASRDf" / str(work % 5) / f"JP{work:04d}" / f"{role:04d}"
            place.mkdir(parents=True)
            for image in range(4):
                pixels = draw.integers(0, 200, size=(24, 24, 3)) + 5 * work
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"JP{work:04d}_{role:04d}_{image}.png")
    return build(lsasrd.scan(source), tmp_path_factory.mktemp("shards") / "works")


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    """Shards of 7 classes of 6 images."""
    root = tmp_path_factory.mktemp("options")
    for name in range(7):
        for part in ("train", "val"):
            for image in range(6):
                file = root / part / f"c{name}" / f"{part}{image}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                draw_stripes(name, len(part), image).save(file)
    return build(folder.scan(root), tmp_path_factory.mktemp("shards") / "classes")


def parts_of(recipe, manifest):
    torch.manual_seed(0)
    inputs = evaluation_inputs(recipe, manifest, (), "auto")
    return build_model(recipe, 7).eval(), Evaluation(manifest, "val"), inputs, Device("cpu")


def image_and_mirror(inputs, index):
    image = torch.from_numpy(inputs.images[np.array([index])])
    return image, torch.from_numpy(image.numpy()[:, :, ::-1].copy())


@torch.inference_mode()
def flipped_features(model, evaluation, inputs):
    """The features of queries and gallery, image by image."""
    both = [[model.embed(view)[0] for view in image_and_mirror(inputs, index)] for index in evaluation.images]
    means = functional.normalize(torch.stack([(one + other) / 2 for one, other in both]), dim=1)
    return means.tensor_split([len(evaluation.query)])


def test_flip_ranks_by_the_mean_feature_of_an_image_and_its_mirror_image(small_recipe, works):
    parts = parts_of(small_recipe(), works)
    found, plain = evaluate_with(EvaluationOptions(flip=True), *parts, precision="fp32")
    query, gallery = flipped_features(*parts[:3])
    expected = by_name(cross_role_metrics(query, gallery, **parts[1].labels), counted=True)
    assert found == pytest.approx(expected, abs=1e-4)
    assert plain == pytest.approx(evaluate(*parts), abs=1e-9)
    assert found != plain


def test_features_are_averaged_then_expanded_then_re_ranked(small_recipe, works):
    parts = parts_of(small_recipe(), works)
    options = EvaluationOptions(flip=True, query_expansion=3, rerank=True)
    found, _ = evaluate_with(options, *parts, precision="fp32")
    distances = RerankedDistances(*expand_features(*flipped_features(*parts[:3]), 3))
    expected = by_name(metrics_of(distances, read_labels(**parts[1].labels)), counted=True)
    assert found == pytest.approx(expected, abs=1e-3)


def test_flip_names_classes_by_the_mean_logits(small_recipe, classes):
    model, evaluation, inputs, device = parts_of(small_recipe(), classes)
    found, plain = evaluate_with(EvaluationOptions(flip=True), model, evaluation, inputs, device, precision="fp32")
    right, fifth = [], []
    with torch.inference_mode():
        for index in evaluation.query:
            one, other = (model.classify(view)[0] for view in image_and_mirror(inputs, index))
            order = ((one + other) / 2).argsort(descending=True).tolist()
            right.append(order[0] == classes.work[index])
            fifth.append(classes.work[index] in order[:5])
    assert (found["top1"], found["top5"]) == pytest.approx((np.mean(right), np.mean(fifth)))
    assert plain == pytest.approx(evaluate(model, evaluation, inputs, device))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rerank": True}, "--rerank needs a gallery, but .* has classes"),
        ({"query_expansion": 2}, "--query-expansion needs a gallery"),
    ],
)
def test_options_that_need_a_gallery_are_refused_for_classes(options, message, classes):
    with pytest.raises(Error, match=message):
        EvaluationOptions(**options).check(Evaluation(classes, "val"))


def test_more_neighbors_than_the_gallery_has_are_refused(works):
    num = len(Evaluation(works, "val").gallery)
    EvaluationOptions(query_expansion=num - 1).check(Evaluation(works, "val"))
    with pytest.raises(Error, match=rf"--query-expansion {num} needs more than {num} gallery images, but .* has {num}"):
        EvaluationOptions(query_expansion=num).check(Evaluation(works, "val"))
