"""`python -m shards_tools`: exit codes, one-line errors, JSON as the last line of standard output."""

import json
import pickle  # noqa: TID251  # only for its exception
import subprocess
import sys
from pathlib import Path

import pytest

from shards_tools import __main__ as command
from shards_tools.errors import Error, reason_of, unknown
from shards_tools.sample import draw_tree


def call(*arguments: object) -> tuple[int, str, str]:
    line = [sys.executable, "-m", "shards_tools", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def refused(*arguments: object) -> str:
    code, stdout, stderr = call(*arguments)
    assert (code, stdout) == (2, "")
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1, stderr
    return stderr


def test_build_show_and_verify_speak_json(five_fold_tree, tmp_path):
    (five_fold_tree / "works.csv").write_text("stranger")
    shards = tmp_path / "out"
    code, built, said = call("build", "lsasrd", five_fold_tree, "--out", shards, "--json")
    assert code == 0
    assert "skipped, not part of the tree" in said
    assert "works.csv" in said
    summary = json.loads(built)
    assert (summary["num_images"], summary["num_roles"], summary["num_works"]) == (105, 35, 10)
    assert summary["folds"][0] == {
        "train": 84,
        "val_query": 9,
        "val_gallery": 12,
        "test_query": 0,
        "test_gallery": 0,
        "val": 0,
        "test": 0,
    }
    assert json.loads(call("show", shards, "--json")[1]) == summary
    for level in ("quick", "full", "deep"):
        code, checked, _ = call("verify", shards, "--level", level, "--json")
        assert code == 0
        assert json.loads(checked) == {"shards": str(shards), "level": level, "num_images": 105, "whole": True}


def test_show_prints_the_summary_to_standard_output_and_beside_json_to_standard_error(plain):
    code, text, stderr = call("show", plain.store.folder)
    assert (code, stderr) == (0, "")
    assert "48 images, 16 roles, 3 works" in text
    code, stdout, stderr = call("show", plain.store.folder, "--json")
    assert (code, stderr) == (0, text)
    (line,) = stdout.splitlines()
    assert json.loads(line)["num_images"] == 48


def test_draw_then_build_is_a_whole_path(tmp_path, monkeypatch, capsys):
    def draw_little(out: Path, seed: int) -> dict[str, int]:
        return draw_tree(out, seed=seed, num_train=3, num_test=1, num_roles=3, num_images=2)

    monkeypatch.setattr(command, "draw_tree", draw_little)
    command.main(["draw", "--out", str(tmp_path / "pictures"), "--seed", "5", "--json"])
    assert json.loads(capsys.readouterr().out)["num_images"] == 24
    command.main(["build", "lsasrd", str(tmp_path / "pictures"), "--out", str(tmp_path / "shards"), "--json"])
    assert json.loads(capsys.readouterr().out)["num_images"] == 24


def test_mistakes_are_one_line_and_name_the_way_out(plain_tree, plain, tmp_path):
    assert "Did you mean 'lsasrd'?" in refused("build", "lsasr", plain_tree, "--out", tmp_path / "x")
    assert "is not an LSASRD tree" in refused("build", "lsasrd", tmp_path / "shards", "--out", tmp_path / "x")
    assert "exists and is not empty" in refused("build", "lsasrd", plain_tree, "--out", plain.store.folder)
    assert "exists and is not empty" in refused("draw", "--out", plain.store.folder)
    assert "has no manifest.json" in refused("show", plain_tree)
    assert f"build shards of them: python -m shards_tools build KIND {plain_tree} --out" in refused("show", plain_tree)
    assert "has no manifest.json" in refused("verify", plain_tree)
    assert "invalid choice" in refused("verify", plain.store.folder, "--level", "most").lower()
    assert "--out" in refused("build", "lsasrd", plain_tree)
    assert "--seed" in refused("draw", "--out", tmp_path / "x", "--seed", "-1")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("damage", ["truncated", "flipped"])
def test_damaged_shards_end_verify_with_two(plain, damage):
    (shard,) = plain.store.folder.glob("*.tar")
    data = bytearray(shard.read_bytes())
    data[5000] ^= 1
    shard.write_bytes(data if damage == "flipped" else data[:-1])
    assert f"{shard} is damaged" in refused("verify", plain.store.folder, "--level", "full")


def test_a_folder_that_exists_is_refused_before_the_source_is_read(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(Error, match="out exists and is not empty"):
        command.main(["build", "lsasrd", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")])


def test_an_unknown_name_lists_ten_known_ones_at_most():
    assert str(unknown("digit", "x", "0123456789")).endswith("Known: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9.")
    assert str(unknown("digit", "x", "0123456789ab")).endswith("8, 9 and 2 more.")


def test_the_reason_of_another_librarys_failure_is_one_short_line():
    long = reason_of(ValueError("first line\n" + "second " * 100))
    assert long.startswith("ValueError: first line second")
    assert len(long) <= 160
    assert "weights_only" not in reason_of(pickle.UnpicklingError("Re-run torch.load with weights_only=False"))
