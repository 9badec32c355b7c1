"""From a checkpoint to other data: its weights onto a model whose classes are others."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from trainables.checkpoint import read_info, read_weights
from trainables.models.model import Model
from trainables.weights import LoadReport, take

log = logging.getLogger(__name__)


def start_from_checkpoint(model: Model, folder: Path, works: Sequence[str]) -> LoadReport:
    """Take the checkpoint's weights by name and shape; of a classifier the rows of the works that have the same name.

    Args:
        works: the names of the model's classes, in the order of its rows.
    """
    info = read_info(folder)
    states = dict(read_weights(folder))
    own = model.state_dict()
    rows = {name: row for row, name in enumerate(info.works)}
    shared = [(row, rows[name]) for row, name in enumerate(works) if name in rows]
    for name, value in own.items():
        if name.startswith("head.classifiers") and name in states:
            states[name] = _with_rows(value, states, name, shared)
    log.info("%d of %d classes stand in the checkpoint %s", len(shared), len(works), folder)
    return take(model, states, str(folder))


def _with_rows(value: Tensor, states: Mapping[str, Tensor], name: str, shared: Sequence[tuple[int, int]]) -> Tensor:
    if value.shape[1:] != states[name].shape[1:]:
        return states[name]
    mixed = value.clone()
    for row, source in shared:
        mixed[row] = states[name][source]
    return mixed
