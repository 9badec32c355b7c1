"""The Python interface: a search from a script and from a notebook, and what it raises."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from PIL import Image

from platform.api import SakugaError, SearchConfig, evaluate, load_study, predict, search
from platform.resilient_storage import PatientStorage
from platform.resolved_search import ResolvedSearch
from platform.search import parser
from platform.trial_record import TrialRecord
from tests.platform.trainings_by_hand import lucky_third, search_by_hand

# No `if __name__ == "__main__"`: what starts processes must not run the script again.
SCRIPT = """
import json

from platform.api import SearchConfig, evaluate, search
from platform.trial_record import StudyRecord


def suggest(trial):
    return {{
        "recipe": "transreid-tiny",
        "backbone": "vit_64x3",
        "image_size": 32,
        "images_per_epoch": 64,
        "works_per_batch": 4,
        "images_per_work": 4,
        "warmup_epochs": 0,
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
    }}


config = SearchConfig(
    space=suggest, study="mine", data={data!r}, trials=3, epochs=2, runs={runs!r}, concurrency=1
)
result = search(config)
again = search(config)
scores = evaluate(result.best.checkpoint, data={data!r}, split="val")
found = {{
    "value": result.best.value,
    "mAP": scores["mAP"],
    "again": again.best.value,
    "params": result.best.params,
    "states": [trial.state.name for trial in result.trials],
    "rows": len(result.to_frame()),
    "study": result.study.study_name,
    "starts": StudyRecord(again.study).starts,
}}
"""


def check(found: dict[str, Any]) -> None:
    assert found["mAP"] == pytest.approx(found["value"], abs=1e-6)
    assert found["again"] == found["value"]
    assert set(found["params"]) == {"lr"}
    assert set(found["states"]) <= {"COMPLETE", "PRUNED"}
    assert found["rows"] == len(found["states"]) == 3
    assert found["study"] == "mine"
    assert found["starts"] == 1  # the second call trains nothing


def test_a_script_without_a_main_guard_searches_a_function(shards: Path, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT.format(data=str(shards), runs=str(tmp_path / "runs")) + "print(json.dumps(found))\n")
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    check(json.loads(result.stdout.splitlines()[-1]))


@pytest.mark.slow
def test_a_notebook_searches_a_function_of_its_own(shards: Path, tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    source = SCRIPT.format(data=str(shards), runs=str(tmp_path / "runs"))
    cells = [*source.split("\n\n\n"), "print(json.dumps(found))"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute(cwd=str(tmp_path))
    printed = [output["text"] for output in notebook.cells[-1].outputs if output.get("name") == "stdout"]
    check(json.loads("".join(printed)))


# As people type them; scripts rely on these names.
OPTIONS = (
    "space data study trials hours epochs scale folds objective sampler pruner runs storage tracking address"
    " gpus-per-trial ranks-per-trial concurrency seed import accept-changed-code dry-run json"
)


def test_every_option_of_the_command_is_a_field_with_the_same_default() -> None:
    known = {name for action in parser()._actions for name in action.option_strings}
    assert {f"--{name}" for name in OPTIONS.split()} <= known
    options = vars(parser().parse_args(["--space", "transreid"]))
    assert options.pop("json") is False
    config = SearchConfig(space="transreid")
    assert {name: getattr(config, name) for name in options} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"space": "nothing"}, "'nothing' is not a known space"),
        ({"space": 3}, "space=3 is not a space"),
        ({"space": "nowhere.py"}, "The space file nowhere.py does not exist"),
        ({"trials": 0}, "trials=0 is invalid: '0' is not an integer >= 1"),
        ({"trials": 2.5}, "trials=2.5 is invalid"),
        ({"hours": "many"}, "hours='many' is invalid"),
        ({"seed": -1}, "seed=-1 is invalid"),
        ({"scale": "huge"}, "scale='huge' is invalid: choose from auto, paper, tiny"),
        ({"sampler": "best"}, "sampler='best' is invalid"),
        ({"dry_run": "yes"}, "dry_run='yes' is invalid: it must be True or False"),
        ({"objective": "mapp"}, "Did you mean 'mAP'?"),
        ({"objective": ["mAP", "mINP"], "folds": 2}, "--folds ranks trials by one objective"),
        ({"final_seeds": 99}, "--final-seeds 99"),
        ({"study": "../up"}, "--study '../up'"),
    ],
)
def test_an_invalid_value_is_refused_when_the_configuration_is_made(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(SakugaError) as caught:
        SearchConfig(**{"space": "transreid", **fields})
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


def test_values_are_converted_as_on_the_command_line() -> None:
    config = SearchConfig(space="transreid", trials="4", hours=2, objective="mAP", runs="elsewhere")
    assert (config.trials, config.hours, config.objective, config.runs) == (4, 2.0, ("mAP",), Path("elsewhere"))


def test_an_object_with_suggest_and_baselines_is_a_space(shards: Path, tmp_path: Path) -> None:
    def suggest(trial: optuna.Trial) -> dict[str, Any]:
        return {"recipe": "transreid-tiny", "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True)}

    mine = SimpleNamespace(suggest=suggest, BASELINES={"slow": {"lr": 1e-3}})
    config = SearchConfig(space=mine, data=str(shards), runs=tmp_path / "runs", trials=1, dry_run=True)
    summary = search(config).summary
    assert (summary["trials"]["wanted"], summary["largest"]["recipe"]) == (1, "transreid-tiny")


def test_a_stored_study_is_read_as_optuna_has_it(
    study: optuna.Study, search: ResolvedSearch, storage: PatientStorage, journal: Any, tmp_path: Path
) -> None:
    search_by_hand(study, search, journal, lucky_third, tmp_path)
    result = load_study(search.stores.study, runs=search.stores.runs)
    stored = optuna.load_study(study_name=search.stores.study, storage=f"sqlite:///{search.stores.runs / 'optuna.db'}")
    assert [trial.number for trial in result.trials] == [trial.number for trial in stored.trials]
    assert [trial.state for trial in result.trials] == [trial.state for trial in stored.trials]
    assert TrialState.COMPLETE in {trial.state for trial in result.trials}
    assert result.best is not None
    assert (result.best.trial, result.best.value) == (stored.best_trial.number, stored.best_value)
    assert result.best.checkpoint == TrialRecord(stored.best_trial).checkpoint
    frame = result.to_frame()
    assert list(frame["params.lr"]) == [trial.params["lr"] for trial in stored.trials]


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SakugaError, match=r"optuna\.db does not exist\. Run a search first"):
        load_study("mine", runs=tmp_path)


def test_pictures_are_asked_about_as_the_command_asks(checkpoint: Path, shards: Path, tmp_path: Path) -> None:
    picture = tmp_path / "one.png"
    Image.new("RGB", (40, 40), (200, 30, 30)).save(picture)
    answers = predict(checkpoint, picture, nearest=shards, top=2)
    words = [checkpoint, picture, "--nearest", shards, "--top", "2", "--json"]
    command = [sys.executable, "-m", "platform.predict", *map(str, words)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    expected = json.loads(printed.splitlines()[-1])["pictures"]
    ours, theirs = ([near.pop("distance") for one in found for near in one["nearest"]] for found in (answers, expected))
    assert ours == pytest.approx(theirs, abs=1e-6)  # another number of threads adds in another order
    assert answers == expected


def test_a_split_is_evaluated_as_the_command_does(checkpoint: Path, shards: Path) -> None:
    command = [sys.executable, "-m", "platform.evaluate", str(checkpoint), "--data", str(shards), "--json"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(json.dumps(evaluate(checkpoint, data=shards))) == json.loads(printed.splitlines()[-1])
