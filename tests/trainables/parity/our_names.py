"""Which of our weights is which of the restated ones: the one place to change when a module of ours is renamed.

A rule is a pattern of our names and the restated names it stands for, in order along the first axis.
"""

import re

import torch
from torch import Tensor, nn

Rule = tuple[str, tuple[str, ...]]
State = dict[str, Tensor]

# upstream keeps query, key and value in three layers
BLOCKS_OF_ANIMESION: tuple[Rule, ...] = (
    (r"backbone\.blocks\.(\d+)\.attn\.qkv\.(\w+)", (r"blocks.\1.q.\2", r"blocks.\1.k.\2", r"blocks.\1.v.\2")),
    (r"backbone\.blocks\.(\d+)\.attn\.proj\.(\w+)", (r"blocks.\1.out.\2",)),
    (r"backbone\.blocks\.(\d+)\.(?:mlp\.)?((?:norm|fc)\d\.\w+)", (r"blocks.\1.\2",)),
    (r"backbone\.patch_embed\.proj\.(\w+)", (r"patch.\1",)),
    (r"backbone\.cls_token", ("cls",)),
    (r"backbone\.pos_embed", ("pos",)),
    (r"backbone\.norm\.(\w+)", (r"norm.\1",)),
    (r"head\.classifiers\.0\.(\w+)", (r"fc.\1",)),
)
ANIMESION: tuple[Rule, ...] = (
    *BLOCKS_OF_ANIMESION,
    (r"backbone\.aggregation\.(mix|norm)\.(\w+)", (r"\1.\2",)),
    (r"backbone\.words\.words\.weight", ("text.words.weight",)),
    (r"backbone\.words\.places\.weight", ("text.places.weight",)),
    (r"backbone\.words\.kind", ("text.kinds.weight",)),
    (r"backbone\.words\.norm\.(\w+)", (r"text.norm.\1",)),
    (r"backbone\.decoder\.transform\.(.+)", (r"tag_head.\1",)),
    (r"backbone\.decoder\.bias", ("tag_bias",)),
)
DAFRE: tuple[Rule, ...] = (
    *BLOCKS_OF_ANIMESION,
    (r"backbone\.network\.(.+)", (r"\1",)),
    (r"backbone\.convolutions\.0\.0\.(\w+)", (r"conv1.\1",)),
    (r"backbone\.convolutions\.0\.1\.(\w+)", (r"bn1.\1",)),
    (r"backbone\.convolutions\.1\.0\.(\w+)", (r"conv2.\1",)),
    (r"backbone\.convolutions\.1\.1\.(\w+)", (r"bn2.\1",)),
    (r"backbone\.linear\.0\.(\w+)", (r"fc1.\1",)),
)
RULES: dict[str, tuple[Rule, ...]] = {
    "transreid": (
        (r"backbone\.patch_embed\.proj\.(\w+)", (r"patch.\1",)),
        (r"backbone\.cls_token", ("cls",)),
        (r"backbone\.pos_embed", ("pos",)),
        (r"backbone\.trunk\.(\d+)\.attn\.proj\.(\w+)", (r"trunk.\1.out.\2",)),
        (r"backbone\.trunk\.(\d+)\.(?:mlp\.|attn\.)?((?:norm1|norm2|fc1|fc2|qkv)\.\w+)", (r"trunk.\1.\2",)),
        (r"backbone\.global_branch\.block\.attn\.proj\.(\w+)", (r"last.out.\1",)),
        (r"backbone\.global_branch\.block\.(?:mlp\.|attn\.)?((?:norm1|norm2|fc1|fc2|qkv)\.\w+)", (r"last.\1",)),
        (r"backbone\.global_branch\.norm\.(\w+)", (r"norm.\1",)),
        (r"backbone\.local_branch\.block\.attn\.proj\.(\w+)", (r"local.0.out.\1",)),
        (r"backbone\.local_branch\.block\.(?:mlp\.|attn\.)?((?:norm1|norm2|fc1|fc2|qkv)\.\w+)", (r"local.0.\1",)),
        (r"backbone\.local_branch\.norm\.(\w+)", (r"local.1.\1",)),
        (r"head\.(necks|classifiers)\.(\d+)\.(\w+)", (r"\1.\2.\3",)),
    ),
    "agw": (
        (r"backbone\.network\.(layer\d)\.blocks\.(.+)", (r"network.\1.\2",)),
        (r"backbone\.network\.(layer\d)\.non_local\.(\d+)\.(.+)", (r"network.\1_nl\2.\3",)),
        (r"backbone\.network\.(.+)", (r"network.\1",)),
        (r"backbone\.pooling\.p", ("p",)),
        (r"head\.necks\.0\.(\w+)", (r"neck.\1",)),
        (r"head\.classifiers\.0\.(\w+)", (r"fc.\1",)),
    ),
    "icartoonface": (
        (r"backbone\.network\.(.+)", (r"network.\1",)),
        (r"head\.classifiers\.0\.(\w+)", (r"fc.\1",)),
    ),
    "open": (
        (r"backbone\.network\.(.+)", (r"network.\1",)),
        (r"head\.necks\.0\.(\w+)", (r"neck.\1",)),
        (r"head\.classifiers\.0\.(\w+)", (r"fc.\1",)),
    ),
    "animesion": ANIMESION,
    "dafre": DAFRE,
}
# the classifiers of the networks that name them otherwise
CLASSIFIERS = {"ShallowNet": (r"head\.classifiers\.0\.(\w+)", (r"fc2.\1",))}
ARCFACE: tuple[Rule, ...] = (
    (r"backbone\.network\.(.+)", (r"network.\1",)),
    (r"head\.classifiers\.0\.weight", ("directions",)),
)
# what upstream has and never reads: its other kind of token
CUT = ("text.places.weight", "text.kinds.weight")


def rules_of(system: str, restated: nn.Module) -> tuple[Rule, ...]:
    """The rules of a family, for this network of it."""
    kind = type(restated).__name__
    if kind == "ArcFaceResNet":
        return ARCFACE
    own = (CLASSIFIERS[kind],) if kind in CLASSIFIERS else ()
    return (*own, *RULES[system])


def restated_names(our_name: str, rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """What our weight is called in the restatement; several names where it holds several weights."""
    for pattern, names in rules:
        match = re.fullmatch(pattern, our_name)
        if match:
            return tuple(match.expand(name) for name in names)
    raise AssertionError(f"{our_name} is in no rule of our_names.py: upstream has no such weight, or it was renamed.")


def as_restated(ours: State, theirs: State, rules: tuple[Rule, ...]) -> State:
    """Our weights under the restated names and shapes; every restated weight must be there, and no other."""
    found: State = {}
    for our_name, value in ours.items():
        names = restated_names(our_name, rules)
        assert set(names) <= theirs.keys(), f"{our_name}: the restated network has no {', '.join(names)}."
        for name, part in zip(names, value.chunk(len(names)) if value.ndim else [value], strict=True):
            wanted = cut(name, theirs[name], part)
            found[name] = cut(name, part, wanted).reshape(wanted.shape)
    missing = theirs.keys() - found.keys()
    assert not missing, f"Ours lacks {', '.join(sorted(missing))}."
    return found


def cut(name: str, value: Tensor, other: Tensor) -> Tensor:
    """The rows that both have, of the two weights of which one side keeps rows that it never reads."""
    if name not in CUT:
        return value
    width = value.shape[-1]
    rows = min(value.numel(), other.numel()) // width
    return value.reshape(-1, width)[:rows]


def give_ours(model: nn.Module, restated: nn.Module, rules: tuple[Rule, ...]) -> None:
    """Copy every restated weight and statistic into our model."""
    theirs = restated.state_dict()
    as_restated(model.state_dict(), theirs, rules)
    with torch.no_grad():
        for our_name, value in model.state_dict().items():
            names = restated_names(our_name, rules)
            source = torch.cat([theirs[name] for name in names]) if len(names) > 1 else theirs[names[0]]
            place = cut(names[0], value, source)
            place.copy_(cut(names[0], source, value).reshape(place.shape))
