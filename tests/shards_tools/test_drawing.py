"""Drawn faces: deterministic, in LSASRD's layout, and distinguishable by style rather than by color."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shards_tools import sample
from shards_tools.build import build
from shards_tools.drawing.character import (
    ACCESSORIES,
    BACKS,
    COLLARS,
    EYES,
    FRONTS,
    MOUTHS,
    draw_character,
    draw_moment,
)
from shards_tools.drawing.face import SIZE, draw_face, find_face
from shards_tools.drawing.layouts import LAYOUTS
from shards_tools.drawing.style import (
    BACKGROUNDS,
    HIGHLIGHTS,
    IRISES,
    LINES,
    NOSES,
    PALETTES,
    SHADINGS,
    SHINES,
    draw_styles,
)
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.sample import draw_tree
from shards_tools.sources import SOURCES
from shards_tools.sources.lsasrd import scan
from shards_tools.splits import TEST_GALLERY, TEST_QUERY, TRAIN

SMALL = {"num_train": 2, "num_test": 1, "num_roles": 3, "num_images": 2}


def bytes_of(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*.jpg"))
    }


def test_the_same_seed_draws_the_same_bytes_and_another_draws_others(tmp_path):
    for name, seed in (("first", 3), ("second", 3), ("third", 4)):
        drawn = draw_tree(tmp_path / name, seed=seed, **SMALL)
        assert drawn["num_images"] == 18
    first, second, third = (bytes_of(tmp_path / name) for name in ("first", "second", "third"))
    assert first == second
    assert len(set(first.values()) | set(third.values())) == 36


def test_the_tree_is_lsasrds_plain_layout(tmp_path):
    draw_tree(tmp_path / "pictures", **SMALL)
    source = scan(tmp_path / "pictures")
    assert source.layout == "plain"
    parts = [(image.work, image.role[-4:], image.split_code) for image in source.images]
    assert {part for part in parts if part[0] != "JP0003"} == {
        (work, role, TRAIN) for work in ("JP0001", "JP0002") for role in ("0001", "0002", "0003")
    }
    assert {part[1:] for part in parts if part[0] == "JP0003"} == {
        ("0001", TEST_QUERY),
        ("0002", TEST_GALLERY),
        ("0003", TEST_GALLERY),
    }


def test_the_five_fold_layout_deals_the_works_out(tmp_path):
    drawn = draw_tree(tmp_path / "pictures", layout="five-fold", num_works=10, num_roles=2, num_images=2)
    source = SOURCES["lsasrd"](tmp_path / "pictures")
    assert (source.layout, len(source.images), len(source.works)) == ("five-fold", drawn["num_images"], 10)
    works = {(image.fold, image.work) for image in source.images}
    assert sorted(fold for fold, _ in works) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_the_dafre_layout_comes_out_with_the_counts_drawn(tmp_path):
    drawn = draw_tree(tmp_path / "pictures", layout="dafre", num_classes=4, max_images=30)
    split = build(SOURCES["dafre"](tmp_path / "pictures"), tmp_path / "shards").split()
    assert [len(split.train), len(split.val), len(split.test)] == [drawn[f"num_{n}"] for n in ("train", "val", "test")]
    manifest = read_manifest(tmp_path / "shards")
    sizes = sorted(np.bincount(manifest.work).tolist())
    assert sizes == sorted(round(20 + 10 / rank**0.9) for rank in (1, 2, 3, 4))
    assert manifest.num_images == drawn["num_images"] == sum(sizes)
    for work in range(4):  # the authors' rule in integers: for these numbers the floats are exact enough
        n = (manifest.work == work).sum()
        val = np.isin(np.flatnonzero(manifest.work == work), split.val).sum()
        assert val == int(n * 0.7999999999999999) - int(n * 0.7)
    assert all(file.parent.name == f"{int(file.stem) % 1000:04d}" for file in tmp_path.glob("pictures/faces/*/*.jpg"))


def test_the_icartoonface_layout_comes_out_with_the_counts_drawn(tmp_path):
    counts = {"num_train": 3, "num_test": 2, "num_distractors": 3, "num_images": 6, "num_styles": 4}
    drawn = draw_tree(tmp_path / "pictures", layout="icartoonface", size=48, **counts)
    source = SOURCES["icartoonface"](tmp_path / "pictures")
    assert len(source.images) == drawn["num_images"]
    assert len(source.pairs) == drawn["num_pairs"] == 2
    by_work = Counter(image.work for image in source.images)
    assert sorted(by_work.values())[-3:] == [6, 6, 6]
    assert len(by_work) == 3 + 2 + 1
    for image in source.images:
        with Image.open(image.path) as picture:
            assert picture.size == (96, 96)
    manifest = build(source, tmp_path / "shards")
    assert manifest.num_images == drawn["num_images"]


def test_the_face_is_inside_its_box():
    """Another hair color changes pixels inside the box of the head, and hardly any outside it."""
    styles = draw_styles(10, 0)
    generator = np.random.default_rng(0)
    for style in styles:
        character = replace(draw_character(generator), back="short", front="straight", accessory="none")
        moment = replace(draw_moment(generator), scale=0.6, shift=(0.2, 0.1))
        other = replace(character, skin_tone=(character.skin_tone + 0.5) % 1)
        left, top, right, bottom = find_face(style, character, moment, 200)
        first, second = (
            np.asarray(draw_face(style, who, moment, np.random.default_rng(0), 200), dtype=int)
            for who in (character, other)
        )
        changed = np.abs(first - second).sum(axis=2) > 0
        assert changed[top:bottom, left:right].sum() > 0.85 * changed.sum()
        assert 40 < right - left < 110
        assert 40 < bottom - top < 110


@pytest.mark.integration
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_the_same_from_any_number_of_processes(layout, tmp_path, monkeypatch):
    few = {
        "plain": SMALL,
        "five-fold": {"num_works": 5, "num_roles": 1, "num_images": 2},
        "dafre": {"num_classes": 2, "max_images": 21},
        "icartoonface": {"num_train": 2, "num_test": 1, "num_distractors": 1, "num_images": 5},
    }[layout]
    monkeypatch.setattr(sample, "IMAGES_PER_PROCESS", 1)
    trees = []
    for num_processes in (1, 2):
        monkeypatch.setattr(sample, "num_cpus", lambda number=num_processes: number)
        out = tmp_path / str(num_processes)
        drawn = draw_tree(out, layout=layout, seed=2, size=32, **few)
        trees.append({str(file.relative_to(out)): file.read_bytes() for file in out.rglob("*") if file.is_file()})
        assert sum(name.endswith(".jpg") for name in trees[-1]) == drawn["num_images"]
    assert trees[0] == trees[1]


def test_the_first_pictures_stay_what_they_are():
    """The sample set's fingerprint depends on them: a change requires a new SAMPLE_VERSION."""
    digest = hashlib.sha256()
    for work, style in enumerate(draw_styles(30, 0)):
        generator = np.random.default_rng((0, 1 + work, 0))
        digest.update(draw_face(style, draw_character(generator), draw_moment(generator), generator).tobytes())
    assert digest.hexdigest() == "cc67a6048bd97f8f18361200a243e9fd2bd41528f66974da0092a92beaa383df"


def test_a_folder_that_holds_something_is_not_drawn_into(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(Error, match="exists and is not empty"):
        draw_tree(tmp_path, **SMALL)


def test_every_trait_can_be_drawn_and_can_be_seen():
    """Each value of each trait gives another picture than the first value, all else equal."""
    style = replace(
        draw_styles(1, 0)[0], line_width=0.03, shading="cel", line="ink", background="rays", nose="line", blush="oval"
    )
    generator = np.random.default_rng(0)
    character = replace(draw_character(generator), back="bob", front="swept", accessory="none", collar="sailor")
    moment = replace(draw_moment(generator), eyes="open", mouth="smile")

    def pixels(style=style, character=character, moment=moment) -> bytes:
        picture = draw_face(style, character, moment, np.random.default_rng(0))
        assert picture.size == (SIZE, SIZE)
        assert picture.mode == "RGB"
        return picture.tobytes()

    traits = {"palette": tuple(PALETTES.values()), "shading": SHADINGS, "line": LINES, "background": BACKGROUNDS}
    traits |= {"nose": NOSES, "shine": SHINES, "iris": IRISES, "highlight": HIGHLIGHTS}
    for name, values in traits.items():
        assert len({pixels(style=replace(style, **{name: value})) for value in values}) == len(values), name
    for name, values in {"back": BACKS, "front": FRONTS, "accessory": ACCESSORIES, "collar": COLLARS}.items():
        seen = {pixels(character=replace(character, **{name: value})) for value in values}
        assert len(seen) == len(set(values)), name
    for name, values in {"eyes": EYES, "mouth": MOUTHS}.items():
        assert len({pixels(moment=replace(moment, **{name: value})) for value in values}) == len(set(values)), name


def test_no_two_works_share_the_traits_that_show_most():
    styles = draw_styles(30, 0)
    assert len({(id(s.palette), s.shading, s.line, s.background) for s in styles}) == 30


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels [N, 128, 128, 3], works and roles of 6 works x 5 roles x 4 images."""
    rows = []
    for work, style in enumerate(draw_styles(6, 1)):
        for role in range(5):
            generator = np.random.default_rng((1, work, role))
            character = draw_character(generator)
            for _ in range(4):
                picture = draw_face(style, character, draw_moment(generator), generator)
                rows.append((np.asarray(picture), work, work * 5 + role))
    pixels, works, roles = zip(*rows, strict=True)
    return np.stack(pixels), np.array(works), np.array(roles)


def share_of_right_neighbors(features: np.ndarray, works: np.ndarray, roles: np.ndarray) -> float:
    """Return how often the nearest image of another role is of the same work."""
    distances = ((features[:, None] - features[None]) ** 2).sum(axis=-1)
    distances[roles[:, None] == roles[None]] = np.inf
    return float((works[distances.argmin(axis=1)] == works).mean())


def test_the_mean_color_does_not_give_the_work_away(faces):
    pixels, works, roles = faces
    mean_color = pixels.mean(axis=(1, 2))
    assert share_of_right_neighbors(mean_color, works, roles) < 0.5  # chance is 1/6


def test_style_is_visible_in_more_than_color(faces):
    """Simple statistics of edges and saturation, without learning, find the work far more often than chance."""
    pixels, works, roles = faces
    gray = pixels.mean(axis=3)
    edges = np.abs(np.diff(gray, axis=2))
    saturation = pixels.max(axis=3).astype(float) - pixels.min(axis=3)
    features = np.stack(
        [
            *np.quantile(edges.reshape(len(edges), -1), [0.5, 0.8, 0.9, 0.97], axis=1),
            *(np.quantile(saturation.reshape(len(edges), -1), [0.2, 0.5, 0.8], axis=1)),
        ],
        axis=1,
    )
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    assert share_of_right_neighbors(features, works, roles) > 0.5


def test_the_sample_set_is_drawn_once_and_said_out_loud(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sample, "draw_tree", lambda out: draw_tree(out, **SMALL))
    shards = sample.sample_set(tmp_path)
    assert "drawing a sample set" in capsys.readouterr().err
    assert read_manifest(shards).num_images == 18
    before = (shards / "manifest.json").stat().st_mtime_ns
    assert sample.sample_set(tmp_path) == shards
    assert "drawing a sample set" not in capsys.readouterr().err
    assert (shards / "manifest.json").stat().st_mtime_ns == before
    assert [path.name for path in tmp_path.iterdir()] == [shards.name]


@pytest.mark.parametrize("name", ["manifest.json", "manifest.npz", "shard-00000.tar"])
@pytest.mark.parametrize("deed", [Path.unlink, lambda file: file.write_bytes(file.read_bytes()[:-700])])
def test_a_sample_set_that_was_purged_or_cut_is_drawn_again(name, deed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sample, "draw_tree", lambda out: draw_tree(out, **SMALL))
    shards = sample.sample_set(tmp_path)
    before = {file.name: file.read_bytes() for file in shards.iterdir()}
    deed(shards / name)
    capsys.readouterr()
    assert sample.sample_set(tmp_path) == shards
    assert "does not match its checksums: the sample set is rebuilt" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in shards.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == [shards.name]


def test_a_face_is_a_picture_and_not_a_blank():
    styles = draw_styles(30, 0)
    for work, style in enumerate(styles):
        generator = np.random.default_rng(work)
        picture = draw_face(style, draw_character(generator), draw_moment(generator), generator)
        assert isinstance(picture, Image.Image)
        assert np.asarray(picture).reshape(-1, 3).std(axis=0).min() > 10
