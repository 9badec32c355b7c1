"""`image_size` as an integer or HEIGHTxWIDTH: its values, and networks, pixels and memory of rectangular images."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional

from shards_tools.decode import decode
from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from shards_tools.reader import read_image
from tests.trainables.conftest import draw_stripes
from tests.trainables.inference.test_export import write_checkpoint
from tests.trainables.reports import Reports
from trainables.data.augmentation import AugmentParams, augment_batch, augment_pictures
from trainables.data.reading import decoded_shapes, evaluation_inputs, training_images
from trainables.data.text import least_num_words
from trainables.device import Device
from trainables.evaluation.evaluate import evaluate
from trainables.evaluation.evaluation import Evaluation
from trainables.inference.export import export_onnx, export_torchscript, export_weights
from trainables.inference.prediction import Predictor
from trainables.models import build_model
from trainables.profiling.memory_estimate import bytes_held
from trainables.recipes import get_recipe, recipe_from_dict
from trainables.recipes.recipe import Recipe
from trainables.recipes.settings import override, parse_settings
from trainables.recipes.tiny import tiny_form
from trainables.training.checkpoint import load_model
from trainables.training.checkpoint_info import read_info
from trainables.training.loop import train
from trainables.training.transfer import start_from_checkpoint

NUM_WORKS = 3
# one recipe of each kind of network -> the tokens of images of 64 x 48 px, counted by hand
KINDS = {
    "agw-tiny": 4 * 3,  # 1/16
    "agw-resnet50-nl-tiny": 4 * 3,
    "transreid-tiny": 29 * 21,  # (64 - 8) / 2 + 1
    "transreid-vit-stride-tiny": 10 * 7,  # (64 - 8) // 6 + 1
    "dafre-128-r18-tiny": 2 * 2,  # 1/32, rounded up
    "dafre-128-b16-tiny": 8 * 6,
    "dafre-128-b32-tiny": 4 * 3,
    "dafre-224-sn-tiny": 13 * 9,  # ((64 - 4) / 2 - 4) / 2
    "icartoonface-tiny": 2 * 2,
    "animesion-tiny": 8 * 6,
    "animesion-b16-vilt-tiny": 8 * 6,
    "open-dinov2-small-tiny": 8 * 6,
    "open-eva02-base-tiny": 8 * 6,
    "open-convnext-base-tiny": 2 * 1,  # 1/32
}

Small = Callable[..., Recipe]


def sized(name: str, image_size: int | str, **values: object) -> Recipe:
    return override(get_recipe(name), {"image_size": image_size, **values})


def shapes_of(recipe: Recipe) -> torch.nn.Module:
    with torch.device("meta"):
        return build_model(recipe, NUM_WORKS, least_num_words(recipe)).eval()


@pytest.mark.parametrize("value", [48, "48", "48x48", "048x48"])
def test_equal_sides_are_one_integer(value: int | str) -> None:
    recipe = sized("transreid-tiny", value)
    assert recipe == sized("transreid-tiny", 48)
    assert recipe == dataclasses.replace(get_recipe("transreid-tiny"), image_size=value)
    assert recipe == override(recipe, parse_settings([f"image_size={value}"], recipe))
    assert json.dumps(dataclasses.asdict(recipe)) == json.dumps(dataclasses.asdict(sized("transreid-tiny", 48)))
    assert type(recipe.image_size) is int
    assert recipe.size == (48, 48)


def test_a_rectangle_is_height_x_width_on_the_command_line_in_spaces_and_in_json() -> None:
    recipe = sized("transreid-tiny", "64x48")
    assert recipe == override(recipe, parse_settings(["image_size=64x48"], recipe))
    stored = json.loads(json.dumps(dataclasses.asdict(recipe)))
    assert stored["image_size"] == "64x48"
    assert recipe_from_dict(stored) == recipe
    assert (recipe.size.height, recipe.size.width) == (64, 48)


@pytest.mark.parametrize("value", ["256x", "x128", "0x128", "128x0", "256x128x3", "256X128", "-8x8", "8 x 8", "8.0x8"])
def test_a_text_that_is_no_size_is_refused_in_one_line(value: str) -> None:
    tiny = get_recipe("agw-tiny")
    for make in (
        lambda: override(tiny, parse_settings([f"image_size={value}"], tiny)),
        lambda: override(tiny, {"image_size": value}),
        lambda: dataclasses.replace(tiny, image_size=value),
    ):
        with pytest.raises(Error, match=r"^agw-tiny: image_size=.*HEIGHTxWIDTH in px, as in 256x128") as refusal:
            make()
        assert value in str(refusal.value)
        assert len(str(refusal.value)) < 200
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("value", [0, -8, 64.0, True, None, (64, 48), "9999999x8"])
def test_a_value_that_is_no_size_is_refused(value: object) -> None:
    with pytest.raises(Error, match=r"^agw-tiny: image_size=.* is invalid: it must be an integer above 0, or HEIGHT"):
        override(get_recipe("agw-tiny"), {"image_size": value})


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("transreid-tiny", {"image_size": "64x7"}, "image_size='64x7' .* at least one patch of 8 px"),
        ("animesion-tiny", {"image_size": "7x64"}, "image_size='7x64' .* at least one patch of 8 px"),
        ("dafre-224-sn-tiny", {"image_size": "64x12"}, "image_size='64x12' .* at least 16"),
        ("icartoonface-tiny", {"image_size": "64x48", "evaluation_px": 60}, r"0, or at least image_size \(64x48\)"),
    ],
)
def test_a_side_that_is_too_short_is_refused(name: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(Error, match=message):
        override(get_recipe(name), values)


@pytest.mark.parametrize(
    ("image_size", "tiny"), [("256x128", "96x48"), ("128x256", "48x96"), ("384x256", "72x48"), ("256x250", 48)]
)
def test_the_tiny_form_keeps_the_shape_in_whole_patches(image_size: str, tiny: int | str) -> None:
    assert tiny_form(sized("transreid-vit-base", image_size)).image_size == tiny
    assert tiny_form(sized("icartoonface-resnet50", image_size, evaluation_px=384)).image_size == tiny


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_network_takes_rectangles_and_tells_its_tokens(name: str) -> None:
    recipe = sized(name, "64x48")
    model = shapes_of(recipe)
    images_BHWC = torch.empty(2, 64, 48, 3, dtype=torch.uint8, device="meta")
    words_BL = torch.zeros(2, getattr(recipe, "text_tokens", 0), dtype=torch.int64, device="meta")
    with torch.inference_mode():
        features_BD = model.embed(images_BHWC, words_BL if words_BL.numel() else None)
    assert features_BD.shape == (2, model.num_features)
    assert model.num_tokens == KINDS[name]


@pytest.mark.parametrize("name", ["agw-tiny", "transreid-vit-jpm-tiny", "animesion-tiny", "open-tiny"])
def test_half_of_an_image_takes_about_half_of_its_activations(name: str) -> None:
    whole, upright, wide = (
        bytes_held(sized(name, size), num_works=6, num_images=1000) for size in ("96x96", "96x48", "48x96")
    )
    assert upright == wide
    assert 0.3 * whole < upright < 0.7 * whole


def test_images_of_both_orders_are_read_and_cached_at_their_own_size(small_recipe: Small, manifest: Manifest) -> None:
    indices = manifest.split(0).train[:5]
    original = [Image.fromarray(decode(read_image(manifest, index), "picture")) for index in indices]
    for height, width in ((32, 16), (16, 32)):
        recipe = small_recipe(image_size=f"{height}x{width}", enlarge_px=4)
        for images, more in (
            (training_images(recipe, manifest, "decoded"), 4),
            (evaluation_inputs(recipe, manifest, (), "decoded").images, 0),
        ):
            expected = [
                np.asarray(picture.resize((width + more, height + more), Image.Resampling.BILINEAR))
                for picture in original
            ]
            np.testing.assert_array_equal(images[indices], np.stack(expected))
        shapes = {(height + 4, width + 4, "stretch"), (height, width, "stretch")}
        assert decoded_shapes(recipe, manifest, "decoded") == shapes


def test_a_rectangular_center_crop_is_torchvisions(small_recipe: Small, mixed_sizes: Manifest) -> None:
    recipe = small_recipe(image_size="32x16", evaluation_px=40)
    indices = np.arange(0, mixed_sizes.num_images, 7)
    found = evaluation_inputs(recipe, mixed_sizes, (), "offset").images[indices]
    for image_HWC, index in zip(found, indices, strict=True):
        picture = Image.fromarray(decode(read_image(mixed_sizes, index), "picture"))
        scale = 40 / min(picture.size)  # the long side is rounded, where torchvision cuts it off
        whole = functional.resize(picture, [round(side * scale) for side in reversed(picture.size)])
        top, left = (whole.height - 40) // 2 + 4, (whole.width - 40) // 2 + 12
        np.testing.assert_array_equal(image_HWC, np.asarray(functional.crop(whole, top, left, 32, 16)))


def test_rectangular_crops_and_resized_crops_are_torchvisions(small_recipe: Small) -> None:
    recipe = small_recipe(image_size="32x16", pad_px=3)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 16, 3), np.uint8)
    flips_B, corners_B2 = torch.tensor([True, False, True, False]), torch.tensor([[0, 6], [6, 0], [2, 5], [3, 3]])
    params = AugmentParams(flips_B=flips_B, corners_B2=corners_B2)
    cropped = augment_batch(torch.from_numpy(images.copy()), params, recipe)
    boxes_B4 = torch.tensor([[0, 0, 32, 16], [3, 2, 20, 9], [10, 1, 7, 14], [0, 5, 12, 8]])
    resizing = dataclasses.replace(recipe, crop_area=(0.1, 1.0), pad_px=0)
    params = AugmentParams(flips_B=flips_B, boxes_B4=boxes_B4)
    resized = augment_pictures(images, params, resizing, lambda shape: torch.empty(shape, dtype=torch.uint8))
    for place in range(4):
        picture, flip = Image.fromarray(images[place]), functional.hflip if flips_B[place] else lambda same: same
        expected = functional.crop(functional.pad(flip(picture), [3]), *corners_B2[place].tolist(), 32, 16)
        np.testing.assert_array_equal(cropped[place], np.asarray(expected))
        expected = flip(functional.resized_crop(picture, *boxes_B4[place].tolist(), [32, 16]))
        np.testing.assert_array_equal(resized[place], np.asarray(expected))


def test_positions_of_a_checkpoint_with_as_many_in_another_grid_are_not_taken(tmp_path: Path) -> None:
    checkpoint = write_checkpoint("transreid-tiny", tmp_path / "checkpoint", image_size=32, stride_px=8)  # 4 x 4
    for image_size, is_taken in ((32, True), ("64x16", False)):
        model = build_model(sized("transreid-tiny", image_size, stride_px=8), NUM_WORKS)
        report = start_from_checkpoint(model, checkpoint, ["a", "b", "c"])
        assert report.fresh == (() if is_taken else ("backbone.pos_embed",))


def test_exported_weights_keep_a_grid_that_their_number_does_not_tell(tmp_path: Path) -> None:
    changes = {"image_size": "64x16", "stride_px": 8}  # 8 x 2, as many as 4 x 4
    checkpoint = write_checkpoint("transreid-tiny", tmp_path / "checkpoint", **changes)
    export_weights(checkpoint, tmp_path / "weights.safetensors")
    recipe = sized("transreid-tiny", pretrained=True, weights_file=str(tmp_path / "weights.safetensors"), **changes)
    own = Predictor(checkpoint)._model.backbone.pos_embed
    assert torch.equal(build_model(recipe, NUM_WORKS).backbone.pos_embed, own)
    as_square = build_model(dataclasses.replace(recipe, image_size=32), NUM_WORKS).backbone.pos_embed
    expected = torch.nn.functional.interpolate(own[:, 1:].transpose(1, 2).reshape(1, -1, 8, 2), (4, 4), mode="bilinear")
    torch.testing.assert_close(as_square[:, 1:], expected.flatten(2).transpose(1, 2))


def test_a_rectangular_checkpoint_predicts_and_is_exported_like_torch(tmp_path: Path) -> None:
    draw_stripes(1, 1, 0).save(tmp_path / "picture.png")
    checkpoint = write_checkpoint("transreid-vit-jpm-tiny", tmp_path / "checkpoint", image_size="64x32", sie_weight=1.0)
    assert read_info(checkpoint).recipe.image_size == "64x32"
    predictor = Predictor(checkpoint)
    inputs = predictor.of_files([tmp_path / "picture.png"])
    assert inputs.images[np.array([0])].shape == (1, 64, 32, 3)
    assert export_torchscript(checkpoint, tmp_path / "model.pt", None)["max_abs_difference"] <= 1e-4
    with pytest.warns(FutureWarning, match=r"torch.jit.load"):
        loaded = torch.jit.load(tmp_path / "model.pt")
    features, _ = loaded(torch.from_numpy(inputs.images[np.array([0])]))
    np.testing.assert_allclose(features.detach().numpy(), predictor.features(inputs, 1), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["agw-tiny", "transreid-vit-jpm-tiny", "dafre-224-sn-tiny", "open-dinov2-small-tiny"])
def test_onnxruntime_gives_the_numbers_of_torch_on_rectangles(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    checkpoint = write_checkpoint(name, tmp_path / "checkpoint", image_size="64x32")
    found = export_onnx(checkpoint, tmp_path / "model.onnx", None)
    assert found["max_abs_difference"] <= 1e-4
    assert found["inputs"][0]["shape"] == ["batch", 64, 32, 3]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("transreid-tiny", {"backbone": "vit_64x3", "stride_px": 8, "works_per_batch": 4}),
        ("dafre-224-sn-tiny", {"batch_size": 16, "enlarge_px": 4}),
        ("icartoonface-tiny", {"batch_size": 16, "pad_px": 0, "crop_area": (0.3, 1.0), "evaluation_px": 40}),
    ],
)
def test_a_rectangular_training_reports_what_its_checkpoint_gives(
    name: str, values: dict[str, object], manifest: Manifest, tmp_path: Path
) -> None:
    recipe = sized(name, "32x16", images_per_epoch=None, epochs=1, warmup_epochs=0, **values)
    reports = Reports(tmp_path)
    train(recipe, manifest, report=reports)
    model, info = load_model(tmp_path / "1")
    assert info.recipe == recipe
    inputs = evaluation_inputs(info.recipe, manifest, (), "offset")
    found = evaluate(model, Evaluation(manifest, "val", 0), inputs, Device("cpu"))
    assert found
    assert {key: reports.metrics[0][key] for key in found} == pytest.approx(found, abs=1e-6, nan_ok=True)
