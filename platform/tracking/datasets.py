"""Describe a study's training and validation images as MLflow dataset inputs, with digest and source."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from platform.training_setup import TrainingSetup
from shards_tools.redaction import redact

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

MAX_DIGEST = 36  # characters; MLflow's limit


def data_of(setup: TrainingSetup) -> list[dict[str, Any]]:
    """Return one JSON-serializable description each for the training and the validation images of a search."""
    manifest, split = setup.manifest, setup.manifest.split(setup.fold)
    val = np.concatenate([split.val_query, split.val_gallery, split.val])
    name = setup.data.rstrip("/").rpartition("/")[2]
    return [
        {
            "name": f"{name}/{use}",
            "use": use,
            "digest": manifest.fingerprint[:MAX_DIGEST],
            "source": redact(setup.data),
            "layout": manifest.layout,
            "images": len(images),
            "works": len(np.unique(manifest.work[images])),
            "roles": len(np.unique(manifest.role[images])),
        }
        for use, images in (("train", split.train), ("val", val))
    ]


def as_inputs(data: Sequence[Mapping[str, Any]]) -> list[DatasetInput]:
    """Convert the result of `data_of` to the dataset inputs of MLflow's client."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                name=one["name"],
                digest=one["digest"],
                source_type="shards",
                source=json.dumps({"uri": one["source"], "layout": one["layout"]}),
                profile=json.dumps({f"num_{what}": one[what] for what in ("images", "works", "roles")}),
            ),
            [InputTag("mlflow.data.context", one["use"])],
        )
        for one in data
    ]
