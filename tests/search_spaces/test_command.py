"""`python -m search_spaces`, as people run it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from platform.spaces.registry import space_names
from platform.spaces.show import main
from shards_tools.errors import Error

ROOT = Path(__file__).resolve().parents[2]


def run(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "search_spaces", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def shown(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[dict[str, Any], str]:
    main([*map(str, words), "--json"])
    output = capsys.readouterr()
    return json.loads(output.out), output.err


def test_the_list_has_a_line_for_each_space() -> None:
    result = run("--list")
    assert result.returncode == 0
    assert [line.split()[0] for line in result.stdout.splitlines() if line[0] != " "] == space_names()
    assert "AGW on cross-role retrieval" in result.stdout
    assert result.stderr.split() == ["paper", "tiny", "parameters", "+", "baselines"]


def test_a_space_is_shown_with_its_ranges_conditions_and_baselines(capsys: pytest.CaptureFixture[str]) -> None:
    told, text = shown(capsys, "--show", "agw", "--scale", "paper")
    parameters = {parameter["name"]: parameter for parameter in told["scales"]["paper"]["parameters"]}
    assert list(told["scales"]) == ["paper"]
    assert parameters["sgd_lr"] == {
        "name": "sgd_lr",
        "kind": "number",
        "low": 1e-3,
        "high": 1e-1,
        "log": True,
        "step": None,
        "where": {"optimizer": ["sgd"]},
    }
    assert parameters["pooling"]["choices"] == ["avg", "gem"]
    assert parameters["pooling"]["where"] == {}
    assert told["scales"]["paper"]["baselines"]["paper ResNet50"]["sgd_lr"] == 0.01
    assert "0.1 to 0.5, where metric_loss is triplet" in text
    assert "baseline paper ResNet50 NL" in text


def test_both_scales_are_shown_where_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    told, text = shown(capsys, "--show", "moeimouto")
    assert list(told["scales"]) == ["paper", "tiny"]
    assert told["scales"]["paper"]["longest_epochs"] == 200
    assert "paper scale" in text
    assert "tiny scale" in text


def test_a_file_is_shown_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        'def suggest(trial):\n    return {"recipe": "agw-tiny", "epochs": trial.suggest_int("epochs", 3, 6)}\n'
    )
    told, text = shown(capsys, "--show", path)
    for scale in ("paper", "tiny"):
        (parameter,) = told["scales"][scale]["parameters"]
        assert (parameter["name"], parameter["low"], parameter["high"]) == ("epochs", 3, 6)
    assert "mine: no docstring" in text
    assert "0 baselines" in text


def test_a_condition_that_no_choice_tells_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "def suggest(trial):\n"
        '    lr = trial.suggest_float("lr", 1e-4, 1e-2)\n'
        '    decay = trial.suggest_float("weight_decay", 0.0, 0.1) if lr > 5e-3 else 0.0\n'
        '    return {"recipe": "agw-tiny", "lr": lr, "weight_decay": decay}\n'
    )
    told, text = shown(capsys, "--show", path, "--scale", "tiny")
    assert [parameter["where"] for parameter in told["scales"]["tiny"]["parameters"]] == [{}, None]
    assert "0 to 0.1, in some samples" in text


BAD_WORDS = {
    "a name that is none": (["--show", "agv"], "'agv' is not a known space. Did you mean 'agw'?"),
    "a file that is not there": (["--show", "agw.py"], "The space file agw.py does not exist"),
    "neither of the two": ([], "--list --show is required"),
    "a scale of the list": (["--list", "--scale", "tiny"], "--scale is only valid with --show"),
}


@pytest.mark.parametrize("fault", BAD_WORDS)
def test_a_mistake_is_one_line(fault: str) -> None:
    words, message = BAD_WORDS[fault]
    with pytest.raises(Error) as caught:
        main(words)
    assert message in str(caught.value)


def test_a_mistake_exits_with_2() -> None:
    result = run("--show", "transried")
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Did you mean 'transreid'?" in result.stderr
