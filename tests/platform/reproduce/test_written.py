"""The files of a table, each read back."""

import csv
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from platform.fixed_trials import newest
from platform.paper_tables.display import print_table, unfinished
from platform.paper_tables.reproduction import Reproduction
from platform.paper_tables.written import (
    NOTHING,
    ReproducedTable,
    as_csv,
    as_latex,
    as_markdown,
    make_folder,
    reproduced_table,
    write_table,
)
from shards_tools.errors import Error
from tests.platform.reproduce.conftest import end_next, results_in, start


@pytest.fixture
def reproduction(reproduction_of: Callable[..., Reproduction]) -> Reproduction:
    return reproduction_of("--rows", "ViT-Base", "ViT-Stride", "--seeds", 2)


@pytest.fixture
def table(reproduction: Reproduction) -> ReproducedTable:
    """The trainings of ViT-Base are complete; of ViT-Stride one is missing."""
    study = start(reproduction)
    for value in (0.123456789, 0.5, 0.25):
        end_next(study, value=value)
    return reproduced_table(reproduction, results_in(reproduction, study))


FIRST = ["ViT-Base", "mAP", "18.67", "8.95", "36.70", "-18.03"]  # of 12.3456789 and 25
UNFINISHED = ["ViT-Stride", "mAP", NOTHING, NOTHING, "42.24", NOTHING]


def test_markdown_has_a_line_per_row_and_metric(table: ReproducedTable) -> None:
    text = as_markdown(table)
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == ["row", "metric", "mean", "std", "printed", "difference", "chance", "trainings"]
    assert len(lines) == 2 + len(table.results)
    assert lines[2][:6] == FIRST
    assert lines[6][:6] == UNFINISHED
    assert (lines[2][7], lines[6][7]) == ("2/2", "1/2")


def test_csv_keeps_every_digit(table: ReproducedTable) -> None:
    entries = list(csv.DictReader(as_csv(table).splitlines()))
    assert len(entries) == len(table.results)
    assert [float(value) for value in entries[0]["values"].split()] == [100 * 0.123456789, 25.0]
    assert float(entries[0]["mean"]) == table.results[0].mean
    assert entries[0]["table"] == "lsasrd-5"
    assert entries[0]["recipe"] == "transreid-vit-base-tiny"
    assert (entries[4]["mean"], entries[4]["difference"], entries[4]["complete"]) == ("", "", "1")


def test_latex_is_a_table_of_equal_lines(table: ReproducedTable) -> None:
    lines = as_latex(table).splitlines()
    body = [line for line in lines if line.endswith(r"\\")]
    assert len(body) == 1 + len(table.results)
    assert {line.count("&") for line in body} == {7}
    assert body[1].removesuffix(r" \\").split(" & ")[:6] == FIRST
    assert body[2].startswith(" & mINP")
    assert [line for line in lines if line.startswith(r"\begin")][::-1] == [
        r"\begin{tabular}{llrrrrrr}",
        r"\begin{table}",
    ]


def test_signs_that_latex_reads_otherwise_are_escaped(
    reproduction_of: Callable[..., Reproduction], shards: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "50%_of&that#{x}~"
    odd.symlink_to(shards)
    reproduction = reproduction_of("--rows", "ViT-Base", "--data", odd)
    (caption,) = re.findall(r"\\caption\{(.*)\}", as_latex(reproduced_table(reproduction, [])))
    assert r"50\%\_of\&that\#\{x\}\textasciitilde{}" in caption


@pytest.mark.parametrize(("scale", "warned"), [("tiny", True), ("paper", False)])
def test_a_table_says_its_split_and_scale_and_when_not_to_compare(
    scale: str, warned: bool, reproduction_of: Callable[..., Reproduction], five_folds: Path
) -> None:
    reproduction = reproduction_of("--data", five_folds, "--folds", 3, "--scale", scale)
    text = as_markdown(reproduced_table(reproduction, []))
    assert f"the validation split of folds 0 to 2 of {five_folds}, at {scale} scale." in text
    assert "the mean of five folds of the paper's data" in text
    assert ("Do not compare these numbers with the printed ones" in text) == warned


def test_a_table_says_when_it_was_trained_for_other_epochs(reproduction_of: Callable[..., Reproduction]) -> None:
    assert "Trained for 1 epoch; the recipes have 9." in as_markdown(
        reproduced_table(reproduction_of("--epochs", 1), [])
    )
    assert "Trained for" not in as_markdown(reproduced_table(reproduction_of("--epochs", 9), []))


def test_the_files_take_the_place_of_earlier_ones(reproduction: Reproduction, table: ReproducedTable) -> None:
    make_folder(reproduction.out)
    write_table(reproduced_table(reproduction, []), reproduction.out)
    files = write_table(table, reproduction.out)
    assert [file.name for file in files] == ["lsasrd-5.md", "lsasrd-5.csv", "lsasrd-5.tex"]
    assert files[0].read_text() == as_markdown(table)
    assert files[0].parent == reproduction.search.stores.runs / reproduction.search.stores.study
    assert list(files[0].parent.glob("*.partial")) == []


def test_people_are_told_what_failed_and_what_is_left(
    reproduction: Reproduction, capsys: pytest.CaptureFixture[str]
) -> None:
    study = start(reproduction)
    end_next(study, TrialState.FAIL)
    end_next(study)
    table = reproduced_table(reproduction, results_in(reproduction, study))
    print_table(table, unfinished(reproduction.trainings, newest(study)), [], reproduction.search.stores.runs)
    screen = capsys.readouterr().err
    assert "Failed: ViT-Base, seed 0: it broke" in screen
    assert "Failed trainings: 1. Run the same command again to retry them." in screen
    assert "Trainings left: 2. Run the same command again to resume." in screen
    assert "0/2, 1 failed" in screen


def test_a_folder_that_cannot_be_written_is_refused_before_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(Error, match=r"--out .* cannot be written: Permission denied\."):
        make_folder(tmp_path)
