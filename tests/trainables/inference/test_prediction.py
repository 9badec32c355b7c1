"""A picture has the feature that it has from the shards; what is nearest is what a slow loop finds."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.reader import read_image
from trainables.data.pictures import find_pictures, picture_inputs
from trainables.data.reading import evaluation_inputs
from trainables.device import Device
from trainables.evaluation.evaluate import extract_features
from trainables.inference.prediction import distances_of_pairs, nearest, top_classes
from trainables.models import build_model
from trainables.recipes import get_recipe
from trainables.recipes.settings import override
from trainables.recipes.transreid import TransReIDRecipe


@pytest.mark.parametrize("evaluation_px", [0, 28])
def test_a_picture_has_the_feature_that_it_has_from_shards(
    evaluation_px: int, mixed_sizes: Manifest, small_recipe: Callable[..., TransReIDRecipe]
) -> None:
    recipe = small_recipe(evaluation_px=evaluation_px)
    torch.manual_seed(0)
    model, every = build_model(recipe, 8).eval(), np.arange(mixed_sizes.num_images)
    from_shards = extract_features(model, evaluation_inputs(recipe, mixed_sizes, (), "auto"), every, Device("cpu"))
    encoded = [read_image(mixed_sizes, index) for index in every]
    inputs = picture_inputs(recipe, (), [str(index) for index in every], encoded.__getitem__)
    alone = [extract_features(model, inputs, every[place : place + 1], Device("cpu")) for place in every]
    assert torch.cat(alone).numpy() == pytest.approx(from_shards.numpy(), abs=1e-6)


def test_a_picture_comes_without_tags() -> None:
    recipe = override(get_recipe("animesion-l16-vilt-tiny"), {"masking": "none"})
    recipe = dataclasses.replace(recipe, image_size=24)
    words = picture_inputs(recipe, ("[PAD]", "[UNUSED]", "[CLS]", "[SEP]", "[UNK]", "hat"), ["a"], lambda _: b"").words
    assert words is not None
    assert words[0, :4].tolist() == [2, 3, 0, 0]


def test_the_nearest_are_those_of_a_slow_loop_and_equal_ones_keep_their_order() -> None:
    random = np.random.default_rng(0)
    gallery = (1 + 1e-3 * random.normal(size=(40, 8))).astype(np.float32)
    gallery[7] = gallery[3]
    queries = gallery[[3, 20]] + np.float32(1e-5)
    places, distances = nearest(queries, gallery, 4)
    for query, own_places, own_distances in zip(queries, places, distances, strict=True):
        slow = [float(np.linalg.norm(query.astype(np.float64) - image)) for image in gallery.astype(np.float64)]
        assert own_distances == pytest.approx(sorted(slow)[:4], abs=1e-6)
        assert {round(slow[place], 5) for place in own_places} == {round(value, 5) for value in sorted(slow)[:4]}
    assert places[0, :2].tolist() == [3, 7]
    assert nearest(queries, gallery[:2], 4)[0].shape == (2, 2)
    assert distances_of_pairs(np.eye(2), np.eye(2)[::-1]) == pytest.approx([2**0.5, 2**0.5])


def test_classes_come_with_their_probabilities_the_likeliest_first() -> None:
    found = top_classes(np.array([[0.2, 0.5, 0.3]]), ("a", "b", "c"), 2)
    assert found == [[("b", 0.5), ("c", 0.3)]]


def test_pictures_are_found_below_folders_and_what_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("b/1.JPG", "b/2.png", "b/readme.txt", "a.jpeg"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found, others = find_pictures([tmp_path / "b", tmp_path / "a.jpeg"])
    assert [file.name for file in found] == ["1.JPG", "2.png", "a.jpeg"]
    assert others == [tmp_path / "b/readme.txt"]
    with pytest.raises(Error, match="nowhere does not exist"):
        find_pictures([tmp_path / "b", tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(Error, match="empty: no picture found"):
        find_pictures([tmp_path / "empty"])
