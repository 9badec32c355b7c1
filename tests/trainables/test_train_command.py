"""The command `python -m trainables.train`, called as a user calls it."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from shards_tools.errors import Error
from tests.terminal_session import session
from trainables.metrics.chance import chance_metrics
from trainables.train import main
from trainables.training.checkpoint import load_model
from trainables.training.loop import run_epoch
from trainables.training.schedule import Moment, learning_rate

FILES = ["checkpoint.json", "state.pt", "weights.safetensors"]
SMALL = ["backbone=vit_64x3", "image_size=24", "stride_px=8", "works_per_batch=4", "images_per_epoch=none"]


@pytest.fixture
def arguments(manifest, tmp_path):
    settings = [word for setting in SMALL for word in ("--set", setting)]
    where = ["--data", str(manifest.store.folder), "--out", str(tmp_path / "out")]
    return ["--recipe", "transreid-tiny", *where, "--epochs", "2", "--json", *settings]


def result_of(arguments, capsys):
    capsys.readouterr()
    main(arguments)
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_training_writes_its_folder_and_prints_one_json_object(arguments, manifest, tmp_path, capsys):
    result = result_of(arguments, capsys)
    out = tmp_path / "out"
    assert set(result) == {"recipe", "data", "epochs", "metrics", "chance", "checkpoint", "seconds"}
    assert (result["recipe"], result["epochs"], result["data"]) == ("transreid-tiny", 2, str(manifest.store.folder))
    assert result["checkpoint"] == str(out / "last")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[-1] == result["metrics"] == load_model(out / "last")[1].metrics
    assert json.loads((out / "recipe.json").read_text())["recipe"]["backbone"] == "vit_64x3"
    assert sorted(path.name for path in out.iterdir()) == ["last", "metrics.jsonl", "recipe.json"]
    split = manifest.split(0)
    labels = [
        column[part] for column in (manifest.work, manifest.role) for part in (split.val_query, split.val_gallery)
    ]
    assert result["chance"]["mAP"] == chance_metrics(*labels).mAP


def test_a_finished_training_is_not_trained_again(arguments, capsys):
    first, second = result_of(arguments, capsys), result_of(arguments, capsys)
    assert first["metrics"] == second["metrics"]  # the times too


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (["schedule=multistep", "milestones=1"], "its multistep schedule continues, because"),
        (
            ["schedule=cosine"],
            "its cosine schedule is computed for 3 epochs from now on, so the learning rate rises again",
        ),
    ],
)
def test_more_epochs_extend_a_finished_training(arguments, schedule, said, tmp_path, capsys):
    arguments += ["--set", "warmup_epochs=0", *schedule]
    main(arguments)
    capsys.readouterr()
    longer = [*arguments, "--epochs", "3"]
    main(longer)
    text = capsys.readouterr().err
    assert f"The training of 2 epochs is extended to 3: {said}" in text
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    recipe = load_model(tmp_path / "out/last")[1].recipe
    assert recipe.epochs == 3
    assert lines[2]["lr"] == pytest.approx(learning_rate(recipe, Moment(3)))
    assert result_of(longer, capsys)["metrics"] == lines[2]
    with pytest.raises(Error, match="epochs=3, not 2"):
        main(arguments)


def test_with_a_schedule_that_does_not_depend_on_epochs_an_extended_training_equals_a_whole_one(
    arguments, tmp_path, capsys
):
    arguments += ["--set", "schedule=multistep", "milestones=1", "warmup_epochs=0"]
    main(arguments)
    extended = result_of([*arguments, "--epochs", "3"], capsys)["metrics"]
    whole = result_of([*arguments, "--epochs", "3", "--out", str(tmp_path / "whole")], capsys)["metrics"]
    for name in ("loss", "mAP"):
        assert extended[name] == pytest.approx(whole[name], rel=1e-6)


def test_a_training_killed_at_any_write_goes_on_from_its_last_checkpoint(arguments, tmp_path, capsys, monkeypatch):
    whole = result_of(arguments, capsys)["metrics"]
    out = tmp_path / "out"

    trained = []

    def counting(training, epoch):
        trained.append(epoch)
        return run_epoch(training, epoch)

    def train_until_epoch_2() -> None:
        shutil.rmtree(out)
        monkeypatch.setattr("trainables.training.loop.run_epoch", stop_after_one)
        with pytest.raises(KeyboardInterrupt):
            main(arguments)
        trained.clear()
        monkeypatch.setattr("trainables.training.loop.run_epoch", counting)

    def after_the_checkpoint() -> None:
        (out / "metrics.jsonl").unlink()

    def between_the_renames() -> None:
        (out / "last").rename(out / ".last.old")

    def while_saving() -> None:
        shutil.copytree(out / "last", out / ".last.new")
        (out / ".last.new" / "checkpoint.json").rename(out / ".last.new" / "half-written")

    for kill in (after_the_checkpoint, between_the_renames, while_saving):
        train_until_epoch_2()
        kill()
        metrics = result_of(arguments, capsys)["metrics"]
        assert (metrics["epoch"], metrics["mAP"], metrics["loss"]) == (2, whole["mAP"], whole["loss"])
        assert trained == [2]
        assert len((out / "metrics.jsonl").read_text().splitlines()) == 2
        assert sorted(path.name for path in (out / "last").iterdir()) == FILES
        assert sorted(path.name for path in out.iterdir()) == ["last", "metrics.jsonl", "recipe.json"]


def stop_after_one(training, epoch):
    if epoch == 2:
        raise KeyboardInterrupt
    return run_epoch(training, epoch)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--epochs", "1"], "epochs=2, not 1"),
        (["--set", "lr=0.5"], "lr=.*, not 0.5"),
        (["--seed", "1"], "seed=0, not 1"),
        (["--fold", "1"], "fold=0, not 1"),
    ],
)
def test_other_settings_on_a_training_s_folder_are_refused(arguments, more, named, capsys):
    result_of(arguments, capsys)
    with pytest.raises(Error, match=named):
        main([*arguments, *more])


def test_a_folder_of_something_else_is_refused_and_left_alone(arguments, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(Error, match="was not written by a training"):
        main(arguments)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--data", "nowhere"], "nowhere"),
        (["--recipe", "transreid-tyni"], "Did you mean 'transreid-tiny'"),
        (["--set", "lrr=1"], "Did you mean 'lr'"),
        (["--fold", "9"], "Fold 9"),
        (["--seed", "-1"], "seed=-1"),
        (["--set", "lr=1e12", "--set", "optimizer=sgd"], "The loss is .* Set a lower lr"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(arguments, more, message, tmp_path):
    with pytest.raises(Error, match=message):
        main([*arguments, *more])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["--recipe", "--data", "--out"])
def test_a_missing_argument_is_named(arguments, name):
    place = arguments.index(name)
    with pytest.raises(Error, match=f"{name} is missing"):
        main(arguments[:place] + arguments[place + 2 :])


def test_the_list_names_every_recipe_with_its_size(capsys):
    main(["--list", "--json"])
    recipes = json.loads(capsys.readouterr().out.splitlines()[-1])["recipes"]
    keys = {"name", "system", "table", "row", "backbone", "num_parameters", "feature_dim", "image_size", "tokens"}
    assert all(set(recipe) == keys for recipe in recipes)
    assert {"transreid-vit-base", "transreid-vit-stride", "transreid-tiny"} <= {recipe["name"] for recipe in recipes}


def test_the_command_trains_without_the_search_s_packages(arguments):
    hide = "import sys; sys.modules.update(dict.fromkeys(('ray', 'optuna', 'mlflow')))"
    program = f"{hide}; from trainables.train import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["metrics"]["epoch"] == 2


def test_a_terminal_shows_a_bar_for_every_epoch_and_a_file_the_lines_alone(manifest, tmp_path):
    words = [sys.executable, "-m", "trainables.train", "--recipe", "transreid-tiny", "--data", str(manifest.store)]
    words += ["--epochs", "2", "--set", *SMALL]
    with session([*words, "--out", str(tmp_path / "one")]) as terminal:
        assert terminal.wait() == 0
    for epoch in ("1/2", "2/2"):
        assert re.search(rf"epoch {epoch}: +100%.* 10/10 .*loss=\d", terminal.written.decode())
    plain = subprocess.run([*words, "--out", str(tmp_path / "two")], capture_output=True, text=True, check=True)
    assert "batch/s" not in plain.stderr
    assert [line.split(":")[0] for line in plain.stderr.splitlines() if line.startswith("epoch")] == [
        "epoch 1",
        "epoch 2",
    ]
