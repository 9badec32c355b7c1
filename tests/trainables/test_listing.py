"""The list of recipes: every row of the papers' tables, with the sizes that their texts and code give."""

import csv
import subprocess
import sys

import pytest
import torch

from trainables.listing import SIZES, SIZES_FILE, describe, list_recipes, print_list
from trainables.models import build_model
from trainables.recipes import RECIPES
from trainables.sizes import sizes_of

# table -> row -> millions of parameters, width of the test feature, image size, tokens or places of the last map
LSASRD = {
    "LSASRD Table 4": {
        "ResNet50": (23.5, 2048, 256, 256),
        "ResNet50 NL": (24.4, 2048, 256, 256),
        "ResNet101": (42.5, 2048, 256, 256),
        "ResNet152": (58.1, 2048, 256, 256),
        "SE ResNet50": (26.0, 2048, 256, 256),
        "SE ResNet101": (47.3, 2048, 256, 256),
        "SE ResNet152": (64.8, 2048, 256, 256),
        "SE ResNext50": (25.5, 2048, 256, 256),
        "SE ResNext101": (46.9, 2048, 256, 256),
        "ResNet50 IBN A": (23.5, 2048, 256, 256),
    },
    "LSASRD Table 5": {
        "DeiT-Small": (21.7, 384, 256, 256),
        "DeiT-Stride": (93.1, 3840, 256, 441),
        "ViT-Small": (48.0, 768, 256, 256),
        "ViT-Base": (85.8, 768, 256, 256),
        "ViT-JPM": (92.9, 3840, 256, 256),
        "ViT-Stride": (93.1, 3840, 256, 441),
    },
}
# model -> millions of parameters, feature, tokens at 128 px, tokens at 224 px; SN is 224 px alone
DAFRE = {
    "SN": (46.0, 512, None, 53 * 53),
    "R-18": (11.2, 512, 16, 49),
    "R-152": (58.1, 2048, 16, 49),
    "B-16": (85.7, 768, 64, 196),
    "B-32": (87.4, 768, 16, 49),
    "L-16": (303.2, 1024, 64, 196),
    "L-32": (305.5, 1024, 16, 49),
}
LISTED = {(entry["table"], entry["row"]): entry for entry in list_recipes() if entry["table"]}


def check(entry, millions, feature, image_size, tokens):
    assert entry["num_parameters"] / 1e6 == pytest.approx(millions, abs=0.06)
    assert (entry["feature_dim"], entry["image_size"], entry["tokens"]) == (feature, image_size, tokens)


@pytest.mark.parametrize("table", LSASRD)
def test_every_row_of_lsasrds_tables_is_there_with_its_sizes(table):
    assert {row for of, row in LISTED if of == table} == set(LSASRD[table])
    for row, sizes in LSASRD[table].items():
        check(LISTED[table, row], *sizes)


@pytest.mark.parametrize(
    ("table", "models", "image_size"),
    [
        ("DAF:re Table 1", ("R-18", "R-152", "B-16", "B-32", "L-16", "L-32"), 128),
        ("DAF:re Table 2", ("R-18", "R-152", "B-16", "B-32", "L-16", "L-32"), 128),
        ("DAF:re Table 3", ("SN", "R-18", "B-32"), 224),
        ("DAF:re Table 4", ("SN", "R-18", "B-32"), 224),
    ],
)
def test_every_row_of_dafres_tables_is_there_with_its_sizes(table, models, image_size):
    rows = {f"{model}{suffix}": model for model in models for suffix in ("", ", pretrained")}
    rows.pop("SN, pretrained", None)
    assert {row for of, row in LISTED if of == table} == set(rows)
    for row, model in rows.items():
        millions, feature, *tokens = DAFRE[model]
        check(LISTED[table, row], millions, feature, image_size, tokens[image_size == 224])


def test_ifa_vilt_and_paddles_row_are_there_with_their_sizes():
    check(LISTED["Animesion README", "L-16"], 303.2, 1024, 128, 64)
    plain, ifa = (LISTED["Animesion README", row]["num_parameters"] for row in ("L-16", "L-16 + IFA"))
    assert ifa - plain == 24 + 1  # one weight per block and a bias; its norm takes the place of the last
    assert LISTED["Animesion README", "ViLT L-16 (vision+tags)"]["num_parameters"] > plain + 512 * 1024
    check(LISTED["PaddleClas cartoon", "ResNet50"], 23.5, 2048, 224, 49)
    check(LISTED["DAF:re section 3.1.1", "ResNet-18, ArcFace"], 11.2, 512, 128, 16)


def test_the_sizes_of_vit_base_are_those_worked_out_by_hand():
    # 12 blocks of 12 d^2 + 13 d, patches, norm, class token, positions, and the neck's norm
    d = 768
    block, norm = 12 * d * d + 13 * d, 2 * d
    rest = (3 * 16 * 16 + 1) * d + d + 2 * d
    base, stride = (LISTED["LSASRD Table 5", row]["num_parameters"] for row in ("ViT-Base", "ViT-Stride"))
    assert base == 12 * block + norm + rest + 257 * d
    # JPM adds one block, one norm and four necks; upstream's unused block is not there
    assert stride == 13 * block + 2 * norm + rest + 4 * 2 * d + 442 * d


@pytest.mark.integration
@pytest.mark.parametrize("name", [recipe.name for recipe in RECIPES.values() if recipe.scale == "tiny"])
def test_the_listed_sizes_are_the_models(name):
    recipe = RECIPES[name]
    reads_tags = bool(getattr(recipe, "text_tokens", 0))
    num_words = {"tags": 5, "wordpieces": 30_522}  # the marks alone, and BERT's whole vocabulary
    model = build_model(recipe, 5, num_words[recipe.tokenizer] if reads_tags else 0)
    entry = describe(recipe)
    classifiers = sum(weight.numel() for weight in model.head.classifiers.parameters())
    assert entry["num_parameters"] == sum(weight.numel() for weight in model.parameters()) - classifiers
    pixels = torch.zeros(1, recipe.image_size, recipe.image_size, 3, dtype=torch.uint8)
    words = torch.zeros(1, recipe.text_tokens, dtype=torch.int64) if reads_tags else None
    assert model.eval().embed(pixels, words).shape[1] == entry["feature_dim"]
    assert model.classify(pixels, words).shape == (1, 5)


def test_names_tables_and_rows_are_told_once():
    names = [entry["name"] for entry in list_recipes()]
    rows = [(entry["table"], entry["row"]) for entry in list_recipes() if entry["table"]]
    assert len(set(names)) == len(names)
    assert len(set(rows)) == len(rows)


def test_people_see_each_recipe_once_and_not_its_tiny_twin(capsys):
    print_list(list_recipes(), print)
    lines, notes = (text.splitlines() for text in capsys.readouterr())
    first = [line.split()[0] for line in lines]
    assert "agw-resnet50" in first
    assert "agw-tiny" in first
    assert "agw-resnet50-tiny" not in first
    assert all(len(line) <= 140 for line in lines)
    assert [note.split()[0] for note in notes] == ["recipe", "Recipes"]


@pytest.mark.integration
def test_the_table_of_sizes_has_every_recipe_and_what_its_network_has():
    with SIZES_FILE.open(newline="") as file:
        stored = {row["recipe"]: tuple(int(row[name]) for name in SIZES) for row in csv.DictReader(file)}
    counted = {name: sizes_of(recipe) for name, recipe in RECIPES.items() if name not in RECIPES.added}
    assert stored == counted, "run: python -m trainables.sizes"


@pytest.mark.parametrize(
    "words",
    [
        "trainables.train --list",
        "trainables.train --help",
        "platform.search --help",
        "platform.report --help",
        "platform.predict --help",
        "platform.export --help",
        "platform.evaluate --help",
        "platform.reproduce --list",
        "platform.submit --help",
        "search_spaces --list",
        "shards_tools --help",
    ],
)
def test_what_only_lists_imports_no_torch(words):
    module, option = words.split()
    program = (
        "import runpy, sys\n"
        f"sys.argv = ['it', {option!r}]\n"
        "try:\n"
        f"    runpy.run_module({module!r}, run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "slow = {'torch', 'ray', 'mlflow', 'timm', 'matplotlib'} & set(sys.modules)\n"
        "assert not slow, slow\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
