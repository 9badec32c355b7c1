"""Write the test features of a split to a table, with the names, works and roles of its images.

N images, D feature dimension.
"""

from pathlib import Path
from typing import Any

import numpy as np

from shards_tools.errors import Error
from shards_tools.manifest import Manifest
from trainables.data.reading import evaluation_inputs
from trainables.device import Device
from trainables.evaluation.evaluate import extract_features
from trainables.evaluation.evaluation import Evaluation
from trainables.metrics.cross_role import Floats
from trainables.training.checkpoint import load_model


def export_features(checkpoint: Path, file: Path, manifest: Manifest, split: str, *, suffix: str) -> dict[str, Any]:
    """Write `keys`, `works`, `roles` and `features` of every image of a split, in the order of the manifest.

    Roles are empty in .npz and null in .parquet if the data have none.

    Args:
        checkpoint: its local folder.
        file: a new file.
        manifest: the data.
        split: "train", "val" or "test"; the fold is that of the checkpoint.
        suffix: the format, ".npz" or ".parquet".

    Returns:
        `num_images` and `feature_dim`.

    Raises:
        Error: the checkpoint or an image cannot be read, or the split is empty.
    """
    device = Device()
    model, info = load_model(checkpoint, device.torch_device)
    images_N = images_of_split(manifest, split, info.fold)
    inputs = evaluation_inputs(info.recipe, manifest, info.vocabulary, "auto", threads=info.num_threads)
    features_ND = extract_features(model, inputs, images_N, device).cpu().numpy()
    names: dict[str, list[str | None]] = {
        "keys": manifest.keys[images_N].tolist(),
        "works": [manifest.works[work] for work in manifest.work[images_N]],
        "roles": [manifest.roles[role] if manifest.has_roles else None for role in manifest.role[images_N]],
    }
    (_write_npz if suffix == ".npz" else _write_parquet)(file, names, features_ND)
    return {"num_images": len(features_ND), "feature_dim": features_ND.shape[1]}


def images_of_split(manifest: Manifest, split: str, fold: int) -> np.ndarray:
    """Return the indices of a split's images, each once, in the order of the manifest.

    Raises:
        Error: the split is empty.
    """
    images_N: np.ndarray = manifest.split(fold).train if split == "train" else Evaluation(manifest, split, fold).images
    if not len(images_N):
        raise Error(f"{manifest.store} has no {split} split. Use another --split.")
    return np.unique(images_N)


def _write_npz(file: Path, names: dict[str, list[str | None]], features_ND: Floats) -> None:
    texts: dict[str, Any] = {name: np.array([text or "" for text in column]) for name, column in names.items()}
    with file.open("wb") as opened:
        np.savez(opened, features=features_ND, **texts)


def _write_parquet(file: Path, names: dict[str, list[str | None]], features_ND: Floats) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {name: pyarrow.array(column, pyarrow.string()) for name, column in names.items()}
    rows = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(features_ND.ravel()), features_ND.shape[1])
    pyarrow.parquet.write_table(pyarrow.table({**columns, "features": rows}), file)
