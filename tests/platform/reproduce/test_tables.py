"""The tables by name: every printed row belongs to one, and each row to one recipe."""

import csv
import json
from importlib.resources import files

import optuna
import pytest

from platform.paper_tables.reproduction import space_of
from platform.paper_tables.table import TABLES, get_table
from platform.reproduce import main
from shards_tools.errors import Error
from trainables.recipes import RECIPES

NAMES = ["lsasrd-4", "lsasrd-5", "dafre-1", "dafre-2", "dafre-3", "dafre-4", "daf", "icartoonface", "animesion"]


def printed_rows() -> list[dict[str, str]]:
    with files("trainables.recipes").joinpath("printed.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_printed_row_is_a_row_of_a_table_with_its_numbers() -> None:
    by_title = {table.title: table for table in TABLES.values()}
    for entry in printed_rows():
        table, row = entry.pop("table"), entry.pop("row")
        numbers = {name: float(text) for name, text in entry.items() if text}
        assert by_title[table].printed[row] == numbers
    assert sum(len(table.recipes) for table in TABLES.values()) == len(printed_rows())


def test_every_recipe_of_a_printed_row_trains_that_row_alone() -> None:
    named = [recipe for recipe in RECIPES.values() if recipe.table]
    rows = [(table.title, row) for table in TABLES.values() for row in table.recipes]
    assert sorted(rows) == sorted((str(recipe.table), str(recipe.row)) for recipe in named)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("scale", ["paper", "tiny"])
def test_every_row_has_a_recipe_at_both_scales(name: str, scale: str) -> None:
    table = TABLES[name]
    space = space_of(table, scale)
    for row in table.recipes:
        recipe = space.recipe(optuna.trial.FixedTrial({"row": row}), 3)
        assert (recipe.scale, recipe.epochs) == (scale, 3)
        assert recipe.name.removesuffix("-tiny") == table.recipes[row].name


def test_a_list_prints_the_names_of_the_tables_first_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list"])
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == NAMES
    assert "arXiv 2204.14034" in out.splitlines()[0]
    assert err == ""


def test_a_list_of_a_table_prints_its_rows_with_the_printed_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    main(["lsasrd-5", "--list"])
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 6
    last = " ".join(out[-1].split())
    assert last == "ViT-Stride transreid-vit-stride mAP 42.24 mINP 13.14 R1 74.72 R5 89.34"


def test_a_list_for_programs_is_one_object_alone(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--list", "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    tables = json.loads(line)["tables"]
    assert [table["name"] for table in tables] == NAMES
    entry = tables[NAMES.index("daf")]
    assert entry["metrics"] == ["top1"]
    assert entry["rows"] == [{"name": "ResNet-18, ArcFace", "recipe": "daf-128-r18-arcface", "printed": {"top1": 37.3}}]


def test_rows_are_named_by_the_paper_or_by_recipe_and_stay_in_printed_order() -> None:
    table = get_table("lsasrd-5")
    assert table.select([]) == tuple(table.recipes)
    assert table.select(["ViT-Stride", "transreid-deit-small", "ViT-Stride"]) == ("DeiT-Small", "ViT-Stride")


def test_an_unknown_name_is_refused_with_the_nearest_and_the_list() -> None:
    with pytest.raises(Error, match=r"'lsasrd_5' is not a known table\. .* 'lsasrd-5'\? .*reproduce --list\.$"):
        get_table("lsasrd_5")
    with pytest.raises(Error, match=r"known row of lsasrd-5\. .* 'ViT-Stride'\? .*reproduce lsasrd-5 --list\.$"):
        get_table("lsasrd-5").select(["ViT-Base", "vit-strid"])


def test_a_name_unlike_any_other_has_no_guess_beside_it() -> None:
    with pytest.raises(Error, match=r"'xyz' is not a known table\. List them with"):
        get_table("xyz")
