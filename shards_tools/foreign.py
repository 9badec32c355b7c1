"""Write the index files of other WebDataset readers: timm's `_info.json` and open_clip's `sizes.json`."""

import json
from collections.abc import Sequence
from pathlib import Path

from shards_tools.folders import write_durably
from shards_tools.manifest import Shard

SPLIT = "all"  # a shard holds images of every split, so timm's split is not called train


def write_foreign(shards: Sequence[Shard], folder: Path) -> None:
    """Write both files to the folder of the shards; equal shards give equal bytes.

    timm 1.0.31 (`timm/data/readers/reader_wds.py`) reads the shards with --dataset wds/ --train-split all; open_clip
    looks up the number of samples by the name of a shard.
    """
    sizes = {shard.name: shard.num_samples for shard in shards}
    split = {
        "name": SPLIT,
        "num_samples": sum(sizes.values()),
        "filenames": list(sizes),
        "shard_lengths": list(sizes.values()),
    }
    for name, content in (("_info.json", {"splits": {SPLIT: split}}), ("sizes.json", sizes)):
        write_durably(folder / name, (json.dumps(content, indent=1) + "\n").encode())
