"""Each row has its paper's printed numbers."""

import pytest

from trainables.recipes import RECIPES, get_recipe, printed_numbers

ROWS = sorted({(recipe.table, recipe.row) for recipe in map(get_recipe, RECIPES) if recipe.table})


@pytest.mark.parametrize(("table", "row"), ROWS)
def test_every_row_of_a_table_has_its_numbers(table: str, row: str) -> None:
    numbers = printed_numbers(table, row)
    assert numbers
    assert all(0 < number < 1 for number in numbers.values())
    if table.startswith("LSASRD"):  # means of five numbers with one decimal
        assert set(numbers) == {"mAP", "mINP", "cmc_1", "cmc_5"}
        assert [number for number in numbers.values() if round(10_000 * number) % 2] == []
        assert numbers["mINP"] < numbers["mAP"] < numbers["cmc_1"] < numbers["cmc_5"]


def test_numbers_that_everybody_quotes() -> None:
    assert printed_numbers("LSASRD Table 5", "ViT-Stride")["mAP"] == pytest.approx(0.4224)
    assert printed_numbers("LSASRD Table 4", "ResNet50")["mAP"] == pytest.approx(0.4084)
    assert printed_numbers("DAF:re Table 1", "L-16, pretrained") == pytest.approx({"top1": 0.8595, "top5": 0.9423})


def test_a_row_of_nobody_has_none() -> None:
    assert printed_numbers("LSASRD Table 5", "ResNet50") == {}
