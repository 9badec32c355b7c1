"""Grad-CAM++ maps of some images, for convolutional networks and transformers.

Grad-CAM++ is from Chattopadhay et al. 2018 (arXiv 1710.11063), as implemented by the library pytorch_grad_cam. For a
classifier the target is the logit of the predicted class; for a retrieval model it is the cosine between the query and
its nearest correct gallery image.

Axes: n images, H and W pixels, B batch, T tokens, D width, C channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib.figure
import numpy as np
import torch
from torch import Tensor, nn

from platform.reporting.figures.answers import Answers, Rankings
from platform.reporting.figures.figure import Figure
from platform.reporting.figures.look import FULL_WIDTH, canvas
from platform.reporting.figures.pictures import mark, names_of, picture, show
from shards_tools.errors import Error
from trainables.models.animesion import AnimesionBackbone
from trainables.models.conv import STAGES
from trainables.models.conv_backbone import ConvBackbone
from trainables.models.model import Model
from trainables.models.open_networks import OpenBackbone
from trainables.models.shallow import ShallowBackbone
from trainables.models.transreid import TransReIDBackbone

NUM_IMAGES = 6
SEED = 0
COSINE_SCALE = 64.0  # ArcFace's s, turns a cosine into a logit; the library treats gradients of about 0.001 as zero
FEWEST_PLACES = 4  # minimum height and width of a feature map that localizes
LEFT, SIZE, GAP, NAME_HEIGHT = 0.24, 1.1, 0.06, 0.11  # inches
COLORS, OPACITY = "inferno", 0.6  # perceptually uniform, also for color-blind readers and in grayscale


@dataclass(frozen=True)
class Attention:
    """Some queries and their maps; images are indices into the manifest."""

    images_n: np.ndarray
    queries_n: np.ndarray  # their indices into the answers
    maps_nHW: np.ndarray  # 0 to 1, of the model's input size


def plot_grad_cam(answers: Answers) -> Figure:
    """Show each image above its map and, for retrieval models, above its nearest correct gallery image."""
    seen = attention(answers)
    rows = _rows(answers, seen)
    what = "the logit of the predicted class"
    if isinstance(answers, Rankings):
        what = f"the cosine of each query and the nearest gallery image of its {answers.kind} (third row)"
    num_right = int(answers.is_right_Q[seen.queries_n].sum())
    num_dark = int((seen.maps_nHW.max(axis=(1, 2)) == 0).sum())
    return Figure(
        name="grad_cam",
        title="What the model looks at (Grad-CAM++)",
        caption=f"Bright regions raise {what}. {num_right} of {len(rows)} random images are answered correctly."
        + (f" Maps without a bright region: {num_dark}; no region raises it." if num_dark else ""),
        plot=_plot(answers, seen),
        columns=("image", "answer", "place_of_first_right", "brightest_row", "brightest_column"),
        rows=rows,
    )


def attention(answers: Answers) -> Attention:
    """Return the maps of up to six images sampled with a fixed seed: three answered correctly and three incorrectly."""
    order = np.random.default_rng(SEED).permutation(len(answers.queries_Q))
    right, wrong = (order[answers.is_right_Q[order] == is_right] for is_right in (True, False))
    num_right = min(len(right), max(NUM_IMAGES // 2, NUM_IMAGES - len(wrong)))
    queries_n = np.concatenate([right[:num_right], wrong[: NUM_IMAGES - num_right]])
    asked, images_n = answers.asked, answers.queries_Q[queries_n]
    images_BHWC, words_BL = asked.inputs.at(images_n, asked.device)
    if isinstance(answers, Rankings):
        place = {int(image): number for number, image in enumerate(answers.images_N)}
        against_nD = answers.features_ND[[place[int(image)] for image in answers.first_right_Q[queries_n]]]
        targets: list[Target] = [CosineTo(asked.device.upload(torch.from_numpy(feature_D))) for feature_D in against_nD]
        asker = Asker(asked.model.embed, asked.model, words_BL)
    else:
        rows = {name: number for number, name in enumerate(asked.info.works)}
        targets = [LogitOf(rows[answers.named(work)]) for work in answers.answered_Q[queries_n].tolist()]
        asker = Asker(asked.model.classify, asked.model, words_BL)
    return Attention(images_n, queries_n, grad_cam(asker, *last_map(asked.model, images_BHWC), images_BHWC, targets))


Target = Callable[[Tensor], Tensor]  # maps the model's output for one image to the number to explain
Reshape = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class CosineTo:
    """The target of a retrieval model: the cosine with a given feature of norm 1."""

    feature_D: Tensor

    def __call__(self, feature_D: Tensor) -> Tensor:
        """Return the cosine, scaled to the size of a logit."""
        return COSINE_SCALE * feature_D @ self.feature_D


@dataclass(frozen=True)
class LogitOf:
    """The target of a classifier: the logit of one class."""

    row: int

    def __call__(self, logits_C: Tensor) -> Tensor:
        """Return the logit of the class."""
        return logits_C[self.row]


class Asker(nn.Module):
    """Adapt a model to the library, which expects one input, images with channels first.

    Args:
        question: the method of the model to call with images and words.
    """

    def __init__(
        self, question: Callable[[Tensor, Tensor | None], Tensor], model: nn.Module, words_BL: Tensor | None
    ) -> None:
        super().__init__()
        self.question, self.model, self.words_BL = question, model, words_BL

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Return the model's output for uint8 images."""
        return self.question(images_BCHW.permute(0, 2, 3, 1), self.words_BL)


def grad_cam(
    asker: nn.Module, layer: nn.Module, reshape: Reshape | None, images_BHWC: Tensor, targets: list[Target]
) -> np.ndarray:
    """Return a map for each image, of shape (B, H, W), with values from 0 to 1.

    Args:
        layer: the layer whose output is weighted.
        reshape: turns its output into shape (B, C, H, W); None: it has that shape.
        targets: one per image.
    """
    from pytorch_grad_cam import GradCAMPlusPlus  # imports OpenCV, which other figures do not need

    asker.requires_grad_(True)  # a frozen backbone would record no gradients
    cam = GradCAMPlusPlus(asker, [layer], reshape)
    try:
        maps_BHW: np.ndarray = cam(images_BHWC.permute(0, 3, 1, 2), targets)
    finally:
        cam.activations_and_grads.release()
    return maps_BHW


def last_map(model: Model, images_BHWC: Tensor) -> tuple[nn.Module, Reshape | None]:
    """Return the last layer with spatial information, and the function that reshapes its output to (B, C, H, W).

    For a transformer this is the input of the last block, because often only the class token of its output is used. For
    a convolutional network it is the last feature map that is not too coarse for images of this size.

    Raises:
        Error: the network does not name its feature maps.
    """
    backbone = model.backbone
    if isinstance(backbone, TransReIDBackbone):
        return backbone.trunk[-1], patches_as_map(backbone.patch_embed.grid_size, 1)
    if isinstance(backbone, AnimesionBackbone):
        return backbone.blocks[-2], patches_as_map(backbone.patch_embed.grid_size, 1)
    if isinstance(backbone, ConvBackbone):
        return _finest([backbone.network.get_submodule(stage) for stage in STAGES], model, images_BHWC), None
    if isinstance(backbone, ShallowBackbone):
        return _finest(list(backbone.convolutions), model, images_BHWC), None
    assert isinstance(backbone, OpenBackbone)
    network: Any = backbone.network
    if hasattr(network, "blocks"):
        return network.blocks[-2], patches_as_map(network.patch_embed.grid_size, network.num_prefix_tokens)
    if not hasattr(network, "feature_info"):
        raise Error(f"{type(network).__name__} has no `feature_info`, so its last feature map is unknown.")
    stages = [network.get_submodule(stage["module"]) for stage in network.feature_info]
    return _finest(stages, model, images_BHWC), None


def _finest(stages: list[nn.Module], model: Model, images_BHWC: Tensor) -> nn.Module:
    """Return the last stage whose feature map is at least 4 x 4, or the first stage if there is none."""
    sides: dict[nn.Module, int] = {}
    hooks = [
        stage.register_forward_hook(lambda stage, _, map_BCHW: sides.update({stage: min(map_BCHW.shape[2:])}))
        for stage in stages
    ]
    with torch.inference_mode():
        model.embed(images_BHWC[:1])
    for hook in hooks:
        hook.remove()
    return next((stage for stage in reversed(stages) if sides[stage] >= FEWEST_PLACES), stages[0])


def patches_as_map(grid_size: tuple[int, int], num_before: int) -> Reshape:
    """Return a function that reshapes tokens to a map, without the tokens before and after the patches.

    Args:
        num_before: the number of tokens before the patches, such as the class token.
    """
    height, width = grid_size

    def reshape(tokens_BTD: Tensor) -> Tensor:
        patches_BTD = tokens_BTD[:, num_before : num_before + height * width]
        map_BCHW: Tensor = patches_BTD.transpose(1, 2).unflatten(2, (height, width))
        return map_BCHW

    return reshape


def _rows(answers: Answers, seen: Attention) -> list[tuple[object, ...]]:
    keys = answers.asked.evaluation.manifest.keys
    brightest = [np.unravel_index(map_HW.argmax(), map_HW.shape) for map_HW in seen.maps_nHW]
    return [
        (keys[image], answers.named(answers.answered_Q[query]), int(answers.places_Q[query]), int(row), int(column))
        for image, query, (row, column) in zip(seen.images_n, seen.queries_n, brightest, strict=True)
    ]


def _plot(answers: Answers, seen: Attention) -> matplotlib.figure.Figure:
    ranks = isinstance(answers, Rankings)
    heads = ("query", "Grad-CAM++", "nearest correct") if ranks else ("image", "Grad-CAM++")
    tops = [0.03, 0.03 + SIZE + 2 * NAME_HEIGHT]
    if ranks:
        tops.append(tops[1] + SIZE + GAP)
    with canvas(FULL_WIDTH, tops[-1] + SIZE + (3 if ranks else 1) * NAME_HEIGHT, arranged=False) as page:
        for top, head in zip(tops, heads, strict=True):
            middle = 1 - (top + SIZE / 2) / page.get_figheight()
            page.text(0.1 / FULL_WIDTH, middle, head, rotation=90, ha="center", va="center", size=7)
        for column, query in enumerate(seen.queries_n.tolist()):
            corners = [(LEFT + column * (SIZE + GAP), top) for top in tops]
            _show_column(page, corners, answers, query, seen.maps_nHW[column])
    return page


def _show_column(
    page: matplotlib.figure.Figure,
    corners: list[tuple[float, float]],
    answers: Answers,
    query: int,
    map_HW: np.ndarray,
) -> None:
    """Show an image, its map and, for retrieval models, its nearest correct gallery image."""
    manifest, image = answers.asked.evaluation.manifest, int(answers.queries_Q[query])
    pixels = _looked_at(answers, image)
    show(page, corners[0], SIZE, pixels, names_of(manifest, image))
    if isinstance(answers, Rankings):
        under = show(page, corners[1], SIZE, pixels)
        right = int(answers.first_right_Q[query])
        names = (*names_of(manifest, right), f"rank {answers.places_Q[query]:,}")
        show(page, corners[2], SIZE, _looked_at(answers, right), names)
    else:
        under = show(page, corners[1], SIZE, pixels, (answers.named(answers.answered_Q[query]),))
        mark(under, right=bool(answers.is_right_Q[query]))
    height, width = pixels.shape[:2]
    over = (-0.5, width - 0.5, height - 0.5, -0.5)
    if not map_HW.any():
        under.text(width / 2, height / 2, "no region raises it", color="#ffffff", size=7, ha="center", va="center")
    under.imshow(map_HW, COLORS, alpha=OPACITY, extent=over, interpolation="bilinear", vmin=0, vmax=1)


def _looked_at(answers: Answers, image: int) -> np.ndarray:
    """Return the image, cropped to its center if the model only sees that."""
    if answers.asked.info.recipe.evaluation_px:
        pixels_HWC: np.ndarray = answers.asked.inputs.images[np.array([image])][0]
        return pixels_HWC
    return picture(answers.asked.evaluation.manifest, image)
