"""iCartoonFace: PaddleClas's way of seeing an image, both protocols, and a teacher.

B batch, N works.
"""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from shards_tools.build import build
from shards_tools.errors import Error
from shards_tools.fits import cover
from shards_tools.sample import draw_tree
from shards_tools.sources import icartoonface
from tests.trainables.reports import Reports
from trainables.data.batches import EpochBatches
from trainables.data.reading import evaluation_inputs
from trainables.device import Device
from trainables.evaluation.evaluate import evaluate, extract_features
from trainables.evaluation.evaluation import Evaluation
from trainables.losses.identity import distillation_loss
from trainables.metrics.pairs import rank1_of_pairs
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.training.checkpoint import load_model
from trainables.training.loop import train
from trainables.training.train_state import prepare


def small(**values):
    sizes = {"image_size": 24, "evaluation_px": 28, "images_per_epoch": None, "batch_size": 16, "epochs": 1}
    return override(get_recipe("icartoonface-resnet50-tiny"), {**sizes, **values})


@pytest.fixture(scope="session")
def faces(tmp_path_factory):
    """Shards of drawn faces in the official layout, with boxes, distractors and pairs."""
    tree = tmp_path_factory.mktemp("drawn") / "tree"
    draw_tree(tree, layout="icartoonface", size=24, num_train=10, num_test=4, num_distractors=6, num_images=6)
    return build(icartoonface.scan(tree), tmp_path_factory.mktemp("shards") / "faces")


def test_the_row_is_paddles_file():
    row = get_recipe("icartoonface-resnet50")
    assert (row.image_size, row.evaluation_px, row.crop_area) == (224, 256, (0.08, 1.0))
    assert row.crop_aspect == pytest.approx((3 / 4, 4 / 3))
    assert (row.batch_size, row.lr, row.milestones, row.epochs) == (256, 0.1, (30, 60, 90), 120)
    assert (row.momentum, row.weight_decay, row.batch_sampler) == (0.9, 1e-4, "shuffle")


@pytest.mark.parametrize(("height", "width"), [(300, 200), (200, 300), (256, 256), (40, 90), (31, 30)])
def test_an_evaluated_image_is_paddles_short_side_and_middle(height, width):
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    short, size = 32, 28
    scale = short / min(height, width)
    rows, columns = round(height * scale), round(width * scale)
    resized = np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BILINEAR))
    top, left = (rows - size) // 2, (columns - size) // 2
    middle = (short - size) // 2
    ours = cover(pixels, short, short)[middle : middle + size, middle : middle + size]
    np.testing.assert_array_equal(ours, resized[top : top + size, left : left + size])


@pytest.mark.parametrize("reading", ["decoded", "offset", "stream"])
def test_every_reading_gives_the_same_middle(mixed_sizes, reading):
    whole = evaluation_inputs(small(), mixed_sizes, (), "offset").images
    images = evaluation_inputs(small(), mixed_sizes, (), reading).images
    indices = np.array([3, 0, 17])
    assert images.reading == reading
    assert images[indices].shape == (3, 24, 24, 3)
    np.testing.assert_array_equal(images[indices], whole[indices])


def test_a_training_is_ranked_on_identities_that_it_has_not_seen_and_on_pairs(faces, tmp_path):
    reports = Reports(tmp_path)
    train(small(), faces, report=reports)
    assert {"mAP", "cmc_1", "id_loss"} <= set(reports.metrics[0])
    model, info = load_model(tmp_path / "1")
    inputs, evaluation = evaluation_inputs(info.recipe, faces, (), "auto"), Evaluation(faces, "test")
    found = evaluate(model, evaluation, inputs, Device("cpu"))
    features_ND = extract_features(model, inputs, np.arange(faces.num_images), Device("cpu")).numpy()
    probe, partner = faces.pairs.T
    expected = rank1_of_pairs(features_ND[probe], features_ND[partner], features_ND[faces.split().test_gallery])
    assert found == {"pairs_rank1": expected}
    assert evaluation.chance() == {"pairs_rank1": 1 / 7}
    assert len(faces.pairs) == 4


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_distillation_loss_is_hintons(temperature):
    draw = torch.Generator().manual_seed(0)
    own_BN, theirs_BN = torch.randn(3, 5, generator=draw), torch.randn(3, 5, generator=draw)
    total = 0.0
    for own, theirs in zip(own_BN, theirs_BN, strict=True):
        p = torch.softmax(theirs / temperature, 0).tolist()
        q = torch.softmax(own / temperature, 0).tolist()
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    found = distillation_loss(own_BN, theirs_BN, temperature).item()
    assert found == pytest.approx(temperature**2 * total / 3, rel=1e-4)


def test_a_student_follows_its_teacher_and_does_not_move_it(faces, tmp_path):
    teacher = tmp_path / "teacher"
    train(small(backbone="resnet50_32"), faces, report=lambda report, save: save(teacher))
    recipe = small(teacher=str(teacher), distillation_weight=1.0, id_weight=0.0, epochs=4, lr=0.02)
    reports = []
    train(recipe, faces, report=lambda report, save: reports.append(report.metrics))
    assert reports[-1]["distillation_loss"] < 0.8 * reports[0]["distillation_loss"]
    training = prepare(recipe, faces, fold=0, seed=0, device=Device("cpu"))
    before = {name: value.clone() for name, value in training.step._teacher.state_dict().items()}
    batch = next(iter(_batches(training)))
    training.step(batch)
    assert all(torch.equal(value, before[name]) for name, value in training.step._teacher.state_dict().items())


def _batches(training):
    return EpochBatches(training.data, training.recipe, seed=0, epoch=1).start(workers=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"image_size": 20, "evaluation_px": 0},
            r"has an image size of 24 px, but this training 20. Set image_size=24",
        ),
        (
            {"image_size": "24x20", "evaluation_px": 0},
            r"has an image size of 24 px, but this training 24x20. Set image_size=24",
        ),
        ({"teacher": "nowhere"}, r"nowhere holds no checkpoint"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(faces, tmp_path, values, message):
    teacher = tmp_path / "teacher"
    train(small(), faces, report=lambda report, save: save(teacher))
    with pytest.raises(Error, match=message):
        prepare(small(**{"teacher": str(teacher), **values}), faces, fold=0, seed=0)


def test_a_teacher_of_other_classes_is_refused(faces, manifest, tmp_path):
    teacher = tmp_path / "teacher"
    train(small(), manifest, report=lambda report, save: save(teacher))
    with pytest.raises(Error, match=r"has 8 classes, not the 8 of this training. Use a teacher that was trained"):
        prepare(small(teacher=str(teacher)), faces, fold=0, seed=0)
