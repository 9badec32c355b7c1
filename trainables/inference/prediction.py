"""Apply a checkpoint to images: features, classes, nearest neighbors, and distances of pairs.

N images, G gallery, D feature dimension, C classes, B images at a time, K top classes.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from shards_tools.manifest import Manifest
from trainables.data.pictures import picture_in_cell, picture_inputs, read_file
from trainables.data.reading import Inputs, evaluation_inputs
from trainables.device import Device
from trainables.evaluation.evaluate import evaluating, extract_features, first_batch_size, outputs_of
from trainables.metrics.cross_role import Floats
from trainables.metrics.pairs import squared_distances
from trainables.recipes.recipe import Recipe
from trainables.training.checkpoint import load_model

QUERIES_AT_ONCE = 1024


class Predictor:
    """A checkpoint's model in evaluation mode, applied to images."""

    def __init__(self, checkpoint: Path) -> None:
        self._device = Device()
        self._model, self.info = load_model(checkpoint, self._device.torch_device)

    def of_files(self, files: Sequence[Path]) -> Inputs:
        """Return image files as inputs; those that cannot be read are in the inputs' `errors`."""
        return self._of([str(file) for file in files], lambda index: read_file(files[index]))

    def of_cells(self, cells: Mapping[int, object]) -> Inputs:
        """Return the pictures in the cells of a table as inputs; those that cannot be read are in `errors`.

        Args:
            cells: row -> encoded bytes, or text in base64. Messages count rows from 1.
        """
        names, found = [f"picture {row + 1}" for row in cells], list(cells.values())
        return self._of(names, lambda index: picture_in_cell(found[index], names[index]))

    def of_shards(self, manifest: Manifest) -> Inputs:
        """Return all images of the shards as inputs."""
        return evaluation_inputs(
            self.info.recipe, manifest, self.info.vocabulary, "auto", threads=self.info.num_threads
        )

    def features(self, inputs: Inputs, num_images: int) -> Floats:
        """Return the test features of the first `num_images` images as unit vectors, [N, D]."""
        found: Floats = extract_features(self._model, inputs, np.arange(num_images), self._device).cpu().numpy()
        return found

    def predict(self, inputs: Inputs, num_images: int) -> tuple[Floats, Floats]:
        """Return the test features, [N, D], and the probability of each trained class, [N, C], from one pass."""
        num_features = self._model.num_features
        found = [torch.empty(0, num_features + len(self.info.works), device=self._device.torch_device)]
        with evaluating(self._model):
            batch_size = first_batch_size(self._device)
            found += outputs_of(self._both, inputs, np.arange(num_images), self._device, batch_size)
        both: Floats = torch.cat(found).cpu().numpy()
        return both[:, :num_features], both[:, num_features:]

    def _both(self, images_BHWC: Tensor, words_BL: Tensor | None) -> Tensor:
        with self._device.precision("fp32"):
            features_BD, logits_BC = self._model.embed_and_classify(images_BHWC, words_BL)
        return torch.cat([features_BD, probabilities_of(logits_BC.float(), self.info.recipe)], dim=1)

    def _of(self, names: Sequence[str], read: Callable[[int], bytes]) -> Inputs:
        return picture_inputs(self.info.recipe, self.info.vocabulary, names, read, self.info.conversion)


def probabilities_of(logits_BC: Tensor, recipe: Recipe) -> Tensor:
    """Return the probabilities of the classes; the cosines of a margin classifier are scaled first."""
    scale = 1.0 if recipe.id_loss == "softmax" else recipe.id_scale
    return (scale * logits_BC).softmax(dim=1)


def top_classes(probabilities_NC: Floats, works: Sequence[str], top: int) -> list[list[tuple[str, float]]]:
    """Return the `top` most probable classes of each image with their probabilities."""
    places_NK = np.argsort(-probabilities_NC, axis=1, kind="stable")[:, :top]
    rows = zip(places_NK, probabilities_NC, strict=True)
    return [[(works[place], float(row_C[place])) for place in places_K] for places_K, row_C in rows]


def nearest(query_ND: Floats, gallery_GD: Floats, top: int) -> tuple[np.ndarray, Floats]:
    """Return the gallery images nearest to each image.

    Args:
        query_ND: features, unit vectors.
        gallery_GD: features, unit vectors.
        top: images per query; all of a smaller gallery.

    Returns:
        Positions in the gallery and Euclidean distances, [N, top] each, nearest first; ties keep the gallery's order.
    """
    top, center_D = min(top, len(gallery_GD)), gallery_GD.mean(axis=0)
    places, squares = [np.empty((0, top), np.int64)], [np.empty((0, top), np.float32)]
    for start in range(0, len(query_ND), QUERIES_AT_ONCE):
        squares_BG = squared_distances(query_ND[start : start + QUERIES_AT_ONCE] - center_D, gallery_GD - center_D)
        places.append(np.argsort(squares_BG, axis=1, kind="stable")[:, :top])
        squares.append(np.take_along_axis(squares_BG, places[-1], axis=1))
    return np.concatenate(places), np.sqrt(np.concatenate(squares))


def distances_of_pairs(first_ND: Floats, second_ND: Floats) -> Floats:
    """Return the distance between the images of each pair, from 0 to 2."""
    distances_N: Floats = np.linalg.norm(first_ND - second_ND, axis=1)
    return distances_N
