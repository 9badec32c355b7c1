"""All figures of a model: in their order, on either split, and what cannot be drawn is said."""

from pathlib import Path

import pytest

from platform.reporting.figures.figure import Figure
from platform.reporting.figures.of_model import figures_of_model
from shards_tools.build import build
from shards_tools.manifest_file import read_manifest
from shards_tools.sample import draw_tree
from shards_tools.sources import icartoonface
from tests.platform.reporting.figures.conftest import RANKING, trained

pytestmark = pytest.mark.slow  # each draws all there is


def names_of(figures: list[Figure]) -> list[str]:
    """Their names, once each has been drawn in every form."""
    for figure in figures:
        assert figure.as_png(dpi=50)
        assert figure.as_pdf()
        assert figure.as_svg()
        assert figure.caption.endswith(".")
        assert all(len(row) == len(figure.columns) for row in figure.rows)
        if figure.interactive is not None:
            assert figure.interactive.to_json()
    return [figure.name for figure in figures]


@pytest.mark.parametrize("split", ["val", "test"])
def test_rankings(split: str, ranking_checkpoint: Path, shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = figures_of_model(ranking_checkpoint, read_manifest(shards), split=split, fold=None)
    assert names_of(figures) == ["cmc", "ranked_lists", "works_map", "grad_cam", "confusion"]
    assert "Omitted from the figures of" in capsys.readouterr().err


@pytest.mark.parametrize("split", ["val", "test"])
def test_classes(split: str, naming_checkpoint: Path, class_shards: Path) -> None:
    figures = figures_of_model(naming_checkpoint, read_manifest(class_shards), split=split, fold=None)
    assert names_of(figures) == ["cmc", "works_map", "grad_cam", "confusion", "class_size"]


def test_activations_that_were_made_again_in_training(shards: Path, tmp_path: Path) -> None:
    settings = [*RANKING, "activation_checkpointing=true", "jpm=true"]
    checkpoint = trained("transreid-tiny", shards, tmp_path / "out", *settings)
    assert "grad_cam" in names_of(figures_of_model(checkpoint, read_manifest(shards), split="val", fold=None))


def test_identities_are_ranked_on_val_and_pairs_among_strangers_are_not_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    draw_tree(tree, layout="icartoonface", size=24, num_train=10, num_test=4, num_distractors=6, num_images=6)
    manifest = build(icartoonface.scan(tree), tmp_path / "shards")
    settings = ["image_size=32", "batch_size=16", "images_per_epoch=32"]
    checkpoint = trained("icartoonface-tiny", tmp_path / "shards", tmp_path / "out", *settings)
    figures = figures_of_model(checkpoint, manifest, split="val", fold=None)
    assert names_of(figures)[:2] == ["cmc", "ranked_lists"]
    assert "identities" in next(figure for figure in figures if figure.name == "works_map").caption
    assert figures_of_model(checkpoint, manifest, split="test", fold=None) == []
    assert "A split of verification pairs among distractors has no works" in capsys.readouterr().err
