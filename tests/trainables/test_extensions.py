"""What a user registers from outside: names, recipes and backbones, from `--import` to the checkpoint and back."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from shards_tools import plugins
from shards_tools.errors import Error
from shards_tools.plugins import load_plugins
from trainables import register_backbone, register_id_loss, register_metric_loss, register_recipe
from trainables.models import build_model
from trainables.recipes import RECIPES, get_recipe, recipe_from_dict
from trainables.recipes.backbones import BACKBONES
from trainables.recipes.settings import override, settings_of
from trainables.train import main
from trainables.training.checkpoint import load_model
from trainables.training.checkpoint_info import read_info
from trainables.training.optimizer import depths_below_head

OWN_CODE = Path(__file__).parent / "own_code.py"
SETTINGS = ["--epochs", "1", "--json"]
pytestmark = pytest.mark.usefixtures("own_registrations")


def train_own(manifest, tmp_path, file, *more) -> Path:
    """Train the user's recipe with the command; its checkpoint."""
    words = ["--recipe", "squeeze-proxies", "--data", str(manifest.store), "--out", str(tmp_path / "out")]
    main([*words, *SETTINGS, "--import", str(file), *more])
    return tmp_path / "out" / "last"


@pytest.fixture
def copied(tmp_path) -> Path:
    """The user's file at a place where it may be edited."""
    return Path(shutil.copy(OWN_CODE, tmp_path / "mine.py"))


def forget() -> None:
    """As in a new process: nothing is imported or registered."""
    for registry in (BACKBONES, RECIPES, *map(registry_of, ("metric_loss", "id_loss"))):
        for name in registry.added:
            del registry[name]
        registry.added = set()
    plugins._hashes.clear()


def registry_of(key):
    from trainables.training.checkpoint_info import REGISTRIES

    return REGISTRIES[key]


def test_reading_recipes_and_registering_need_no_torch():
    program = (
        "import sys, trainables, trainables.recipes, shards_tools.plugins\n"
        "trainables.register_metric_loss('mine', lambda recipe: None)\n"
        "trainables.register_backbone('mine', lambda recipe: None)\n"
        "trainables.register_recipe('mine', 'open', backbone='mine', metric_loss='mine')\n"
        "trainables.recipes.get_recipe('mine-tiny')\n"
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_recipe_of_own_parts_trains_from_the_command_and_its_checkpoint_says_which_code(manifest, tmp_path, capsys):
    last = train_own(manifest, tmp_path, OWN_CODE)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["recipe"] == "squeeze-proxies"
    model, info = load_model(last)
    assert info.plugins == plugins.plugin_hashes()
    assert set(info.plugins) == {str(OWN_CODE)}
    assert (info.recipe.backbone, info.recipe.metric_loss) == ("squeeze", "proxy_nca")
    images = torch.zeros(2, 24, 24, 3, dtype=torch.uint8)
    assert model.embed(images).shape == (2, 16)


def test_a_checkpoint_whose_code_has_changed_is_refused_until_that_is_accepted(manifest, tmp_path, copied):
    last = train_own(manifest, tmp_path, copied)
    copied.write_text(copied.read_text() + "# edited\n")
    forget()
    load_plugins([str(copied)])
    with pytest.raises(Error, match=rf"another version of {copied}\. .* --accept-changed-code"):
        load_model(last)
    load_plugins([str(copied)], accept_changed_code=True)
    load_model(last)
    metrics = last.parent / "metrics.jsonl"
    metrics.unlink()  # so that the checkpoint is read to resume the training
    with pytest.raises(Error, match="another version"):
        train_own(manifest, tmp_path, copied)
    train_own(manifest, tmp_path, copied, "--accept-changed-code")
    assert metrics.is_file()


def test_the_same_code_at_another_place_is_the_same_code(manifest, tmp_path, copied):
    last = train_own(manifest, tmp_path, copied)
    forget()
    (tmp_path / "elsewhere").mkdir()
    load_plugins([str(shutil.move(copied, tmp_path / "elsewhere" / "other.py"))])
    load_model(last)


def test_names_that_come_from_other_code_than_the_checkpoint_knows_are_refused(manifest, tmp_path, copied):
    last = train_own(manifest, tmp_path, copied)
    forget()
    other = tmp_path / "other.py"
    other.write_text(copied.read_text() + "# edited\n")
    load_plugins([str(other)])
    with pytest.raises(Error, match=f"another version of {copied}"):
        load_model(last)


def test_a_checkpoint_of_own_code_opened_without_it_is_one_line_that_names_import(manifest, tmp_path, copied):
    last = train_own(manifest, tmp_path, copied)
    forget()
    with pytest.raises(Error, match=rf"needs backbone=squeeze, which is not registered\. Add --import {copied}\.$"):
        read_info(last)


def test_a_checkpoint_from_before_there_were_plugins_is_read(manifest, tmp_path):
    last = train_own(manifest, tmp_path, OWN_CODE)
    values = json.loads((last / "checkpoint.json").read_text())
    values.pop("plugins")
    (last / "checkpoint.json").write_text(json.dumps(values))
    assert read_info(last).plugins == {}


def test_an_unknown_recipe_loss_or_backbone_names_the_nearest_and_import():
    with pytest.raises(Error, match=r"'squeeze-proxies' is not a known recipe\..* add --import FILE\.py"):
        get_recipe("squeeze-proxies")
    for values in ({"metric_loss": "soft_triplett"}, {"id_loss": "arcfase"}, {"backbone": "convnext_tyny"}):
        (key,) = values
        with pytest.raises(Error, match=rf"is not a known {key}\. Did you mean .*\. If a file of yours registers it"):
            override(get_recipe("open-tiny"), values)


def test_a_registered_recipe_is_its_base_with_the_settings_and_has_a_tiny_twin():
    register_recipe("mine", "open-dinov2-base", lr=0.5, image_size=448)
    mine, base = get_recipe("mine"), get_recipe("open-dinov2-base")
    assert (mine.lr, mine.image_size, mine.scale, mine.table, mine.preset) == (0.5, 448, "paper", None, None)
    assert {**settings_of(base), "lr": 0.5, "image_size": 448} == settings_of(mine)
    assert (get_recipe("mine-tiny").backbone, get_recipe("mine-tiny").lr) == ("dinov2_tiny", 0.5)
    assert recipe_from_dict(json.loads(json.dumps(vars(mine)))) == mine


def test_a_tiny_twin_keeps_a_backbone_from_outside_and_a_tiny_recipe_has_none():
    register_backbone("mine", lambda recipe: nn.Identity())
    register_recipe("mine", "open", backbone="mine")
    register_recipe("mine-patches", "open", backbone="timm/vit_tiny_patch16_224", image_size="native")
    register_recipe("mine-small", "open-tiny", lr=0.5)
    assert get_recipe("mine-tiny").backbone == "mine"
    assert (get_recipe("mine-patches").image_size, get_recipe("mine-patches-tiny").image_size) == (224, 48)
    assert "mine-small-tiny" not in RECIPES


@pytest.mark.parametrize(
    ("name", "base", "settings", "message"),
    [
        ("mine", "opn", {}, "'opn' is not a known recipe. Did you mean 'open'"),
        ("mine", "open", {"lrr": 1.0}, "'lrr' is not a known recipe key. Did you mean 'lr'"),
        ("mine", "open", {"lr": "fast"}, "mine: lr='fast' is str, not a number"),
        ("open", "open", {"lr": 1.0}, "A different recipe is already registered as 'open'"),
        ("my recipe", "open", {}, "'my recipe' is not a valid name for a recipe"),
    ],
)
def test_a_recipe_is_checked_when_it_is_registered(name, base, settings, message):
    before = dict(RECIPES)
    with pytest.raises(Error, match=message):
        register_recipe(name, base, **settings)
    assert dict(RECIPES) == before


@pytest.mark.parametrize(
    ("register", "factory", "message"),
    [
        (register_metric_loss, 3, "metric_loss 'mine': 3 is not a function"),
        (
            register_metric_loss,
            lambda recipe, width: None,
            r"takes \(recipe, width\)\. Let it take \(recipe\) or \(rec",
        ),
        (register_id_loss, lambda one, two: None, r"id_loss 'mine': its factory takes \(one, two\)"),
        (
            register_backbone,
            lambda recipe, num_classes: None,
            r"takes \(recipe, num_classes\)\. Let it take \(recipe\)",
        ),
    ],
)
def test_a_factory_of_other_parameters_is_refused_at_once(register, factory, message):
    with pytest.raises(Error, match=message):
        register("mine", factory)


@pytest.mark.parametrize("register", [register_backbone, register_metric_loss, register_id_loss])
def test_a_name_that_is_taken_is_refused_in_one_line(register):
    register("mine", torch.nn.Identity)
    register("mine", torch.nn.Identity)
    with pytest.raises(Error, match=r"^A different \w+ is already registered as 'mine'\. Choose another name\.$"):
        register("mine", lambda recipe: None)


class Flat(nn.Module):
    """A linear map of the pixels' means."""

    def __init__(self, promised: int, given: int) -> None:
        super().__init__()
        self.num_features, self.weight = promised, nn.Parameter(torch.ones(given, 3))

    def forward(self, images_BCHW):
        return images_BCHW.mean((2, 3)) @ self.weight.T


def own_model(factory, **settings):
    register_backbone("flat", factory)
    return build_model(override(get_recipe("open-tiny"), {"backbone": "flat", **settings}), 3)


def test_a_backbone_reads_normalized_images_and_is_one_layer_below_the_head():
    model = own_model(lambda recipe: Flat(5, 5), pixel_mean=(0.5, 0.0, 0.0), pixel_std=(0.5, 0.5, 0.25)).eval()
    images = torch.full((2, 64, 64, 3), 255, dtype=torch.uint8)
    features_BD = model.backbone(images)["branches"][:, 0]
    torch.testing.assert_close(features_BD, torch.full((2, 5), 1.0 + 2.0 + 4.0))
    assert depths_below_head(model) == {"backbone.network.weight": 1}
    assert (model.num_features, model.num_tokens) == (5, 0)


def test_a_factory_reads_the_recipe_and_a_file_of_weights_replaces_its_own(tmp_path):
    file = tmp_path / "flat.pth"
    torch.save({"weight": torch.full((5, 3), 7.0)}, file)
    seen = []

    def make(recipe):
        seen.append((recipe.pretrained, recipe.image_size))
        return Flat(5, 5)

    model = own_model(make, pretrained=True)
    loaded = own_model(make, pretrained=True, weights_file=str(file))
    assert seen == [(True, 64), (False, 64)]
    assert (model.backbone.network.weight == 1).all()
    assert (loaded.backbone.network.weight == 7).all()


@pytest.mark.parametrize(
    ("factory", "settings", "message"),
    [
        (
            lambda recipe: None,
            {},
            "backbone=flat: its factory returned NoneType. Let it return an nn.Module with num_f",
        ),
        (
            lambda recipe: nn.Identity(),
            {},
            "its factory returned Identity. Let it return an nn.Module with num_features",
        ),
        (lambda recipe: Flat(6, 5), {}, "backbone=flat returned 2 x 5. Let it return B x num_features, B x 6"),
        (lambda recipe: Flat(5, 5), {"activation_checkpointing": True}, "flat cannot recompute its activations"),
    ],
)
def test_what_is_no_backbone_is_named(factory, settings, message):
    with pytest.raises(Error, match=message):
        own_model(factory, **settings)(torch.zeros(2, 64, 64, 3, dtype=torch.uint8))


def test_another_family_does_not_take_a_registered_backbone():
    register_backbone("flat", lambda recipe: Flat(5, 5))
    with pytest.raises(Error, match=r"backbone='flat' .* a residual network"):
        override(get_recipe("agw-tiny"), {"backbone": "flat"})
