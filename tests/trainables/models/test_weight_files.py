"""Files of weights that are damaged, hold something else, or could run code: read, or refused in one line."""

import contextlib

import numpy as np
import pytest
import timm
import torch

from shards_tools.errors import Error
from tests.trainables.models import other_programs
from tests.trainables.models.small_vit import assert_loaded, drawn, network_of
from trainables.models.weights import load_file


def test_a_file_with_any_damage_is_read_or_refused(tmp_path):
    network, path = network_of(depth=1), tmp_path / "file.pth"
    torch.save(other_programs.torchreid(drawn(network)), path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(40):
        changed = bytearray(whole)
        # the pickle and the directory of the archive, where a change is read as something else
        for place in (*random.integers(0, 8000, 4), *random.integers(len(whole) - 4000, len(whole), 4)):
            changed[place] = random.integers(256)
        path.write_bytes(changed)
        with contextlib.suppress(Error):
            load_file(network, str(path))


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_function_of_a_skipped_package_is_not_called(is_zip, tmp_path):
    network, written = network_of(), tmp_path / "written.npy"

    class Malice:
        def __reduce__(self):
            return np.save, (str(written), [1])

    torch.save(
        {"model": drawn(network), "rank1": Malice()}, tmp_path / "file.pth", _use_new_zipfile_serialization=is_zip
    )
    load_file(network, str(tmp_path / "file.pth"))
    assert_loaded(network, drawn(network))
    assert not written.exists()


class Strange:
    """A class that only this file knows."""


def damaged_values(value):
    def save(states, path):
        torch.save({**states, "blocks.0.mlp.fc1.weight": states["blocks.0.mlp.fc1.weight"] * value}, path)

    return save


def cut(share):
    def save(states, path):
        torch.save(states, path)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    return save


def saved(change):
    return lambda states, path: torch.save(change(states), path)


def written(content):
    return lambda states, path: path.write_bytes(content)


REFUSED = {
    "an empty file": (written(b""), "could not be read"),
    "a web page": (written(b"<!DOCTYPE html><html></html>"), "could not be read"),
    "a pointer of Git LFS": (written(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "could not be"),
    "a safetensors file that is cut": (written((99).to_bytes(8, "little") + b"{}"), "could not be read"),
    "half of a file": (cut(0.5), "could not be read"),
    "all but the last bytes of a file": (cut(0.99), "could not be read"),
    "a list": (saved(lambda states: list(states.values())), "has no tensors by name"),
    "one tensor": (saved(lambda states: states["norm.weight"]), "has no tensors by name"),
    "numbers": (saved(lambda states: {"epoch": 3}), "has no tensors by name"),
    "a whole model": (lambda states, path: torch.save(network_of(), path), "save its state_dict alone"),
    "an object of the user's": (saved(lambda states: {"model": states, "x": Strange()}), r"\(.*_files.Strange\)"),
    "values that are not finite": (damaged_values(float("nan")), "blocks.0.mlp.fc1.weight that are not finite"),
    "infinite values": (damaged_values(float("inf")), "blocks.0.mlp.fc1.weight that are not finite"),
    "quantized weights": (
        saved(lambda states: {name: value.to(torch.int8) for name, value in states.items()}), "torch.int8, not"
    ),
    "a wider network": (saved(lambda states: drawn(network_of(embed_dim=192))), r"Loaded 0 tensors of 30; ignored"),
    "a network of another kind": (
        saved(lambda states: timm.create_model("resnet10t").state_dict()), "Loaded 0 tensors of 30; ignored: bn1"
    ),
    "positions that form no grid": (
        saved(lambda states: {**states, "pos_embed": torch.randn(1, 1 + 17, 96)}), "17 position embeddings"
    ),
    "no class token": (
        saved(lambda states: drawn(network_of(img_size=64, class_token=False, global_pool="avg"))), "no class token"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_without_weights_of_the_network_is_refused_in_one_line_and_changes_nothing(kind, tmp_path):
    write, message = REFUSED[kind]
    network, path = network_of(), tmp_path / "file.pth"
    before = drawn(network_of(), seed=2)
    network.load_state_dict(before)
    write(drawn(network), path)
    with pytest.raises(Error, match=message) as refusal:
        load_file(network, str(path))
    text = str(refusal.value).replace(str(tmp_path), "")
    assert "\n" not in text
    assert len(text) <= 400
    assert_loaded(network, before)
