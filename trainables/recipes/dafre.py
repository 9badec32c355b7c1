"""DAF:re and moeimouto (Rios et al. 2021, arXiv 2101.08674; Animesion v1): every row of its four tables.

The rows follow the authors' code, because it produced the tables:

- Colors are jittered, which the text does not mention.
- Pretrained ResNets train only their classifier.
- Networks are not put back into training mode after the first epoch: dropout is off and batch statistics are frozen.

The preset `upstream` is without the last two, like the authors' later code.
"""

from dataclasses import dataclass
from typing import Any

from trainables.recipes.backbones import ConvNet, Shallow, Transformer, get_backbone
from trainables.recipes.checks import require
from trainables.recipes.images import IMAGENET, JITTERS
from trainables.recipes.recipe import ClassifierRecipe
from trainables.recipes.tiny import TINY

JITTER: dict[str, Any] = dict.fromkeys(JITTERS, 0.1)
EPOCHS_PER_FALL = {50: 20, 200: 50}  # epochs of a training -> epochs between two falls of lr
BACKBONES = {
    "SN": "shallownet",
    "R-18": "resnet18",
    "R-152": "resnet152",
    "B-16": "vit_base_patch16_in21k",
    "B-32": "vit_base_patch32_in21k",
    "L-16": "vit_large_patch16_in21k",
    "L-32": "vit_large_patch32_in21k",
}


@dataclass(frozen=True, kw_only=True)
class DAFreRecipe(ClassifierRecipe):
    """A plain classifier: a residual network, a vision transformer, or the paper's network of five layers."""

    # in transformers: of attention probabilities (not in Animesion), attention outputs and MLP outputs
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        shape = get_backbone(self.backbone)
        rule = "a residual network, a vision transformer or shallownet"
        require(self, "backbone", isinstance(shape, ConvNet | Transformer | Shallow), rule)
        require(self, "dropout", 0 <= self.dropout < 1, "a probability below 1")
        if isinstance(shape, Transformer):
            rule = f"at least one patch of {shape.patch_px} px"
            require(self, "image_size", min(self.size) >= shape.patch_px, rule)
        if isinstance(shape, Shallow):
            require(self, "image_size", min(self.size) >= 16, "at least 16")


def _row(
    table: int, model: str, *, pretrained: bool, data: str, epochs: int, batch_size: int, image_size: int
) -> DAFreRecipe:
    """Return a row.

    SGD at 0.001, divided by 3 every 20 or 50 epochs, without weight decay; crops of images that are 32 px larger.
    """
    is_vit = model[0] in "BL"
    name = f"{data}-{image_size}-{model.lower().replace('-', '')}"
    values: dict[str, Any] = {
        "name": f"{name}-pretrained" if pretrained else name,
        "system": "dafre",
        "table": f"DAF:re Table {table}",
        "row": f"{model}, pretrained" if pretrained else model,
        "preset": "paper",
        "scale": "paper",
        "backbone": BACKBONES[model],
        "pretrained": pretrained,
        "frozen_backbone": pretrained and not is_vit,
        "image_size": image_size,
        "enlarge_px": 32,
        "pad_px": 0,
        **JITTER,
        "erase_probability": 0.0,
        "batch_size": batch_size,
        "dropout": 0.1 if is_vit else 0.0,
        "lr": 0.001,
        "weight_decay": 0.0,
        "schedule": "multistep",
        "warmup_epochs": 0,
        "milestones": tuple(range(EPOCHS_PER_FALL[epochs], epochs, EPOCHS_PER_FALL[epochs])),
        "lr_fall": 1 / 3,
        "epochs": epochs,
        "train_mode_epochs": 1,
        "channels_last": not is_vit,
    }
    if model[0] == "R":
        values |= IMAGENET
    return DAFreRecipe(**values)


def _rows() -> list[DAFreRecipe]:
    rows = []
    for table, data, epochs in ((1, "dafre", 50), (2, "moeimouto", 200)):
        for model in ("R-18", "R-152", "B-16", "B-32", "L-16", "L-32"):
            for pretrained in (False, True):
                settings: dict[str, Any] = {"data": data, "epochs": epochs, "batch_size": 64, "image_size": 128}
                rows.append(_row(table, model, pretrained=pretrained, **settings))
    for table, data in ((3, "dafre"), (4, "moeimouto")):
        for model, pretrained in (("SN", False), ("R-18", False), ("R-18", True), ("B-32", False), ("B-32", True)):
            settings = {"data": data, "epochs": 200, "batch_size": 1024, "image_size": 224}
            rows.append(_row(table, model, pretrained=pretrained, **settings))
    return rows


def _upstream(recipe: DAFreRecipe) -> DAFreRecipe:
    """Return the row as in the authors' later code: always in training mode, and with all weights trained."""
    return recipe.variant(f"{recipe.name}-upstream", preset="upstream", train_mode_epochs=None, frozen_backbone=False)


def _baseline_of_daf() -> DAFreRecipe:
    """Return the baseline of DAF's author: ResNet-18 with ArcFace, 37.3 % on his split.

    The other settings are DAF:re's.
    """
    row = _row(1, "R-18", pretrained=False, data="daf", epochs=50, batch_size=64, image_size=128)
    return row.variant(
        "daf-128-r18-arcface",
        table="DAF:re section 3.1.1",
        row="ResNet-18, ArcFace",
        id_loss="arcface",
        train_mode_epochs=None,
    )


def _hand_set() -> DAFreRecipe:
    """Return the hand-set baseline of the tiny scale: basic blocks and a high learning rate learn from scratch."""
    return DAFreRecipe(
        name="dafre-tiny",
        system="dafre",
        backbone="resnet18_32",
        image_size=48,
        enlarge_px=6,
        pad_px=0,
        erase_probability=0.0,
        batch_size=64,
        lr=0.1,
        weight_decay=5e-4,
        warmup_epochs=1,
        **TINY,
    )


ROWS = tuple(_rows())
RECIPES = (*ROWS, *map(_upstream, ROWS), _baseline_of_daf(), _hand_set())
