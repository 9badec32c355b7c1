"""Evaluation by what the data are: works and identities are ranked, classes are named."""

import numpy as np
import pytest
import torch

from shards_tools.build import build
from shards_tools.sources import folder
from tests.trainables.conftest import draw_stripes
from trainables.data.reading import evaluation_inputs
from trainables.device import Device
from trainables.distributed import DistributedContext
from trainables.evaluation.evaluate import evaluate
from trainables.evaluation.evaluation import Evaluation
from trainables.evaluation.metric_names import CLASSIFYING, RANKING
from trainables.models import build_model


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    """Shards of a drawn class/image tree with its own splits: 6 classes of 4 to 14 training images."""
    root = tmp_path_factory.mktemp("classes")
    for name in range(6):
        for part, number in (("train", 4 + 2 * name), ("val", 3), ("test", 4)):
            for image in range(number):
                file = root / part / f"c{name}" / f"{part}{image}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                draw_stripes(name, len(part), image + 100 * len(part)).save(file)
    return build(folder.scan(root), tmp_path_factory.mktemp("shards") / "classes")


@pytest.mark.parametrize("split", ["val", "test"])
def test_classes_are_named_as_one_would_by_hand(small_recipe, classes, split):
    recipe = small_recipe()
    torch.manual_seed(0)
    model = build_model(recipe, 6)
    evaluation = Evaluation(classes, split)
    found = evaluate(model, evaluation, evaluation_inputs(recipe, classes, (), "auto"), Device("cpu"))
    images, right, fifth = evaluation_inputs(recipe, classes, (), "auto").images, [], []
    with torch.inference_mode():
        for index in evaluation.query:
            logits = model.eval().classify(torch.from_numpy(images[np.array([index])]))[0]
            order = logits.argsort(descending=True).tolist()
            right.append(order[0] == classes.work[index])
            fifth.append(classes.work[index] in order[:5])
    assert found["top1"] == pytest.approx(np.mean(right))
    assert found["top5"] == pytest.approx(np.mean(fifth))
    assert len(right) == (18 if split == "val" else 24)
    chance = evaluation.chance()
    assert (chance["top1"], chance["top5"]) == (1 / 6, 5 / 6)
    assert set(found) == set(chance)
    assert evaluation.objectives == CLASSIFYING
    assert evaluation.trained_works == tuple(f"c{name}" for name in range(6))


def test_the_models_mode_is_kept(small_recipe, classes):
    model = build_model(small_recipe(), 6)
    for mode in (True, False):
        model.train(mode)
        evaluate(
            model, Evaluation(classes, "val"), evaluation_inputs(small_recipe(), classes, (), "auto"), Device("cpu")
        )
        assert model.training == mode


def test_works_are_ranked(manifest):
    evaluation = Evaluation(manifest, "val", 2)
    assert evaluation.ranks
    assert evaluation.objectives == RANKING
    assert set(evaluation.chance()) == set(RANKING)
    np.testing.assert_array_equal(evaluation.query, manifest.split(2).val_query)


def test_ranks_share_the_images_and_miss_none():
    indices = np.arange(11)
    assert (
        np.concatenate([DistributedContext(rank, 4).share(indices) for rank in range(4)]).tolist() == indices.tolist()
    )
