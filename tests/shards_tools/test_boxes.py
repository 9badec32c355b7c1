"""An image with a box is cropped to it, as PIL does; all others keep their bytes."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from shards_tools.build import build
from shards_tools.decode import decode
from shards_tools.reader import read_image
from shards_tools.sources.lsasrd import scan
from tests.shards_tools.refusal import bad_pictures


@pytest.fixture
def smooth_source(plain_tree):
    """A source of smooth images of 60 x 40 px, each of another color."""
    for number, file in enumerate(sorted((plain_tree / "ASRD").rglob("*.*"))):
        across, down = np.meshgrid(np.linspace(0, 255, 60), np.linspace(0, 255, 40))
        pixels = np.stack([across, down, np.full_like(across, number)], axis=-1).astype(np.uint8)
        Image.fromarray(pixels).save(file, quality=95)
    return scan(plain_tree)


def with_box(source, box, index: int = 5):
    images = list(source.images)
    images[index] = replace(images[index], box=box)
    return replace(source, images=tuple(images))


@pytest.mark.parametrize("index", [4, 5])  # a JPEG and a PNG
@pytest.mark.parametrize("box", [(10, 5, 40, 30), (-20, -7, 33, 90), (59, 39, 60, 40), (-5, -5, 500, 500)])
def test_a_box_is_cut_out_and_clipped(smooth_source, tmp_path, box, index):
    path = smooth_source.images[index].path
    manifest = build(with_box(smooth_source, box, index), tmp_path / "out")
    with Image.open(path) as image:
        left, top, right, bottom = box
        expected = np.asarray(image.crop((max(left, 0), max(top, 0), min(right, 60), min(bottom, 40))), dtype=int)
    cut = read_image(manifest, index)
    assert (manifest.height[index], manifest.width[index]) == expected.shape[:2]
    assert np.abs(decode(cut, "cut") - expected).max() <= 6  # JPEG twice
    with Image.open(io.BytesIO(cut)) as image:
        assert image.format == "JPEG"
        assert [layer[1:3] for layer in image.layer] == [(1, 1)] * 3, "4:4:4"
    assert manifest.notes == ("images were cropped to their boxes and compressed again as JPEG of quality 95, 4:4:4",)
    for other, image in enumerate(smooth_source.images):
        assert other == index or read_image(manifest, other) == image.path.read_bytes()


def test_without_boxes_there_is_no_note(smooth_source, tmp_path):
    assert build(smooth_source, tmp_path / "out").notes == ()


@pytest.mark.parametrize("box", [(60, 0, 70, 10), (0, 40, 10, 50), (-9, 0, 0, 10), (5, 5, 5, 9), (-20, -20, -10, -10)])
def test_a_box_beside_its_image_is_refused(smooth_source, tmp_path, box):
    (problem,) = bad_pictures(with_box(smooth_source, box), tmp_path / "out")
    assert problem.path == smooth_source.images[5].path
    assert problem.reason.startswith(f"has 60 x 40 px, so its box {' '.join(map(str, box))} ")


def test_a_box_may_also_cover_more_than_any_file_holds(smooth_source, tmp_path):
    """The area of a box is only an estimate of its bytes and must not create empty shards."""
    manifest = build(with_box(smooth_source, (0, 0, 10**15, 10**15)), tmp_path / "out")
    assert [shard.num_samples > 0 for shard in manifest.shards] == [True] * len(manifest.shards)
    assert manifest.num_images == 48
