"""The report of a study: its numbers are the trials', strangers' text stays text, and nothing in the study changes."""

import contextlib
import csv
import io
import itertools
import json
import math
import re
import shlex
import shutil
import sqlite3
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import create_trial

from platform.environment import start_of_search
from platform.plan import Plan
from platform.report.__main__ import main
from platform.report.known import Known, know
from platform.report.papers import printed_numbers
from platform.report.settings import commands, in_lines
from platform.report.stages import finalists_of, folds_of
from platform.spaces import load_space, space_names
from platform.stored_study import StoredStudy
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from tests.platform.stored_by_hand import TRIALS, study_by_hand
from trainables.checkpoint import CheckpointInfo, as_json
from trainables.evaluation import Evaluation
from trainables.recipes import RECIPES, get_recipe
from trainables.recipes.settings import override, parse_settings

VOID = {"meta", "img", "br", "hr", "input", "link"}
STRANGE = "<script>alert(1)</script>"


def database(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'optuna.db'}"


def content_of(folder: Path) -> list[str]:
    """The whole of a database."""
    with contextlib.closing(sqlite3.connect(folder / "optuna.db")) as connection:
        return list(connection.iterdump())


def report(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    """What the command prints with --json."""
    main([*map(str, words), "--json"])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


class Page(HTMLParser):
    """A page's elements, checked for balance on the way."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> dict[str, Any]:
    """The report of a study with strangers' text in its name, its choices and its rows; and what it was made from."""
    folder = tmp_path_factory.mktemp("strange")
    manifest = read_manifest(shards)
    study = study_by_hand(STRANGE, database(folder), data=manifest.fingerprint)
    choices = ("<img src=x onerror=alert(1)>", "plain")
    for choice in choices:
        trial = create_trial(
            value=0.2,
            params={"choice": choice},
            distributions={"choice": CategoricalDistribution(choices)},
            intermediate_values={1: 0.2},
            user_attrs={"metrics": {"mAP": 0.2}, "baseline": "paper </td><script>", "checkpoint": "/nowhere"},
        )
        study.add_trial(trial)
    study.set_user_attr(
        "last_start", {"command": f"python -m platform.search --space '{STRANGE}'", "data": str(shards)}
    )
    before = content_of(folder)
    out = folder / "out"
    stdout = io.StringIO()
    with contextlib.redirect_stdout(stdout):
        main([STRANGE, "--runs", str(folder), "--out", str(out), "--json"])
    return {"folder": folder, "out": out, "before": before, "json": json.loads(stdout.getvalue()), "shards": shards}


def test_nothing_in_the_study_changes(written: dict[str, Any]) -> None:
    assert content_of(written["folder"]) == written["before"]


def test_the_main_numbers_are_the_trials(written: dict[str, Any]) -> None:
    found = written["json"]
    assert (found["best"]["trial"], found["best"]["value"]) == (3, 0.40)
    assert (found["paper_row"]["trial"], found["paper_row"]["value"]) == (0, 0.25)
    assert found["difference"] == pytest.approx(0.15)
    assert found["trials"] == {"complete": 7, "pruned": 2, "failed": 1, "running": 1}
    chance = Evaluation(read_manifest(written["shards"]), "val", 0).chance()["mAP"]
    assert found["chance"] == chance
    text = (written["out"] / "index.html").read_text()
    for value in ("40.00", "25.00", "+15.00", f"{100 * chance:.2f}"):
        assert value in text


def test_everything_named_is_there(written: dict[str, Any]) -> None:
    found, out = written["json"], written["out"]
    for key in ("page", "report", "trials_csv", "explore"):
        assert Path(found[key]).stat().st_size > 0
    for name in found["figures"]:
        for ending in ("pdf", "png", "csv"):
            assert (out / "figures" / f"{name}.{ending}").stat().st_size > 0
    linked = re.findall(r'href="([^#"]+)"', (out / "index.html").read_text())
    assert linked
    assert all((out / link).is_file() for link in linked)


def test_the_page_is_balanced_and_loads_nothing(written: dict[str, Any]) -> None:
    page = Page((written["out"] / "index.html").read_text())
    tags = [tag for tag, _ in page.elements]
    assert "script" not in tags
    assert "iframe" not in tags
    for tag, attributes in page.elements:
        for key, value in attributes.items():
            assert not key.startswith("on"), f"<{tag} {key}> would run a script"
            if key in ("src", "href", "xlink:href", "action", "srcset", "style"):
                assert "http" not in str(value)
                assert "//" not in str(value)
    assert "@import" not in (written["out"] / "index.html").read_text()


def test_headings_are_in_order_and_each_table_has_headers(written: dict[str, Any]) -> None:
    page = Page((written["out"] / "index.html").read_text())
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert all("scope" in attributes for tag, attributes in page.elements if tag == "th")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_a_name_that_is_markup_stays_text_in_every_file(written: dict[str, Any]) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in (written["out"] / "index.html").read_text()
    for name in ("index.html", "explore.html", "report.md"):
        text = (written["out"] / name).read_text()
        if name == "report.md":
            text = re.sub(r"^    .*$", "", text, flags=re.M)  # a block of code
        assert STRANGE not in text.replace(r"\<", "")
        assert "<img src=x" not in text.replace(r"\<", "")


def test_the_table_of_trials_comes_back_as_it_was(written: dict[str, Any]) -> None:
    rows = list(csv.DictReader(io.StringIO((written["out"] / "trials.csv").read_text())))
    assert [int(row["number"]) for row in rows] == list(range(len(TRIALS) + 2))
    for row, (optimiser, lr, drop_path, values, state) in zip(rows, TRIALS, strict=False):
        assert row["state"] == state.name.lower()
        assert float(row[f"params.{optimiser}_lr"]) == lr
        assert row["params." + ("adamw_lr" if optimiser == "sgd" else "sgd_lr")] == ""
        assert float(row["params.drop_path"]) == drop_path
        assert int(row["epochs"]) == len(values)
        assert row["metrics.mAP"] == (str(values[-1]) if values else "")
    assert rows[-2]["params.choice"] == "<img src=x onerror=alert(1)>"


def test_the_list_leaves_out_what_belongs_to_a_search(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = database(tmp_path)
    study_by_hand("one", url)
    study_by_hand("two", url, trials=())
    optuna.create_study(study_name="one-folds", storage=url)
    main(["--list", "--json", "--runs", str(tmp_path)])
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.err.splitlines()] == ["one", "two"]
    found = json.loads(printed.out)["studies"]
    assert [(entry["study"], entry["best"]) for entry in found] == [("one", 0.40), ("two", None)]


def test_an_unknown_study_is_named_with_the_nearest(tmp_path: Path) -> None:
    study_by_hand("avatars", database(tmp_path))
    with pytest.raises(Error, match=r"'avatar' is not a known study. Did you mean 'avatars'\? Known: avatars\."):
        main(["avatar", "--runs", str(tmp_path), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"There is no .*optuna\.db"):
        main(["--list", "--runs", str(tmp_path)])
    (tmp_path / "optuna.db").write_text("no database at all, but a text that is long enough to be taken for one" * 20)
    with pytest.raises(Error, match="cannot be read: "):
        main(["--list", "--runs", str(tmp_path)])
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE other (number INTEGER)")
    with pytest.raises(Error, match="cannot be read: "):
        main(["--list", "--storage", f"sqlite:///{tmp_path / 'other.db'}"])


def test_a_folder_with_something_in_it_is_left_as_it_is(tmp_path: Path) -> None:
    study_by_hand("one", database(tmp_path), trials=TRIALS[:1])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(Error, match="is not empty"):
        main(["one", "--runs", str(tmp_path), "--out", str(tmp_path / "out")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["optuna.db", "out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("trials", "says"),
    [
        ((), "No trial has begun yet."),
        (TRIALS[7:8], "No trial is complete yet: of 1 begun there are 1 failed."),
        pytest.param(
            TRIALS[6:],
            "No trial is complete yet: of 3 begun there are 1 pruned, 1 failed, 1 running.",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_study_in_its_middle_has_a_report(trials, says, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study_by_hand("one", database(tmp_path), trials=trials)
    found = report(capsys, "one", "--runs", tmp_path, "--out", tmp_path / "out")
    assert found["best"] is None
    assert found["chance"] is None
    assert "--data SHARDS" in found["missing"][0]
    assert says in (tmp_path / "out" / "index.html").read_text()


def test_other_data_than_the_studys_are_refused(tmp_path: Path, shards: Path) -> None:
    stored = StoredStudy(study=study_by_hand())
    with pytest.raises(Error, match="are other data"):
        know(stored, str(shards))
    stored.study.set_user_attr("last_start", {"data": str(tmp_path / "gone")})
    assert "gone" in know(stored, None).why_no_manifest


def test_a_start_is_remembered_without_passwords(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["search.py", "--space", "small.py", "--storage=postgresql://me:secret@host/name"]
    monkeypatch.setattr("sys.argv", words)
    start = json.loads(json.dumps(start_of_search(plan)))
    assert start["command"] == "python -m platform.search --space small.py '--storage=postgresql://me:***@host/name'"
    assert start["data"] == plan.data
    assert start["chance"] == plan.chance
    assert start["chance_by_fold"] == [plan.chance]
    assert {"code", "python", "torch", "timm", "ray", "optuna", "mlflow", "CPU", "GPU"} <= start["environment"].keys()


def test_folds_and_finalists_are_compared_from_the_study_alone() -> None:
    study = study_by_hand()
    study.set_user_attr("folds", 3)
    folds = {3: (0.40, 0.30, 0.20), 0: (0.25, 0.20, 0.15)}
    candidates = [
        create_trial(
            value=float(np.mean(values)), intermediate_values=dict(enumerate(values)), user_attrs={"trial": of}
        )
        for of, values in folds.items()
    ]
    seeds = {3: (0.35, 0.37), 0: (0.30, 0.36)}
    trainings, tests = [], {}
    for of, values in seeds.items():
        for seed, value in enumerate(values, start=1):
            tests[f"test {len(trainings)}"] = {"mAP": value}
            trainings.append(create_trial(value=0.1, user_attrs={"of": of, "training": {"fold": 0, "seed": seed}}))
            trainings[-1].number = len(trainings) - 1
    elected = {"asked": {"finalists": 1, "final_seeds": 2}, "trials": [3, 0], "reference": 0}
    final = {"elected": elected, **tests}
    stored = StoredStudy(study=study, candidates=candidates, final_trainings=trainings, final=final)
    known = know(stored, None)
    best, row = folds_of(known)
    assert (best.trial, best.mean, best.std) == (3, pytest.approx(0.3), pytest.approx(0.1))
    assert (row.trial, best.reference) == (0, row.name)
    assert (best.test.difference, best.test.num_pairs, best.test.p) == (pytest.approx(0.075), 2, 0.5)
    best, row = finalists_of(known)
    assert (best.trial, best.mean, best.test.difference) == (3, pytest.approx(0.36), pytest.approx(0.03))
    assert math.isnan(best.chance)


def test_the_command_trains_the_best_settings_again(tmp_path: Path) -> None:
    recipe = override(get_recipe("agw-resnet50-tiny"), {"lr": 1 / 3, "milestones": (3, 5), "flip_probability": 0.0})
    info = CheckpointInfo(
        recipe=recipe, fingerprint="", fold=2, seed=5, epoch=4, metrics={}, works=("a", "b"), vocabulary=(),
        num_threads=1, reading="decoded", versions={},
    )  # fmt: skip
    (tmp_path / "checkpoint.json").write_text(as_json(info))
    study = optuna.create_study(direction="maximize")
    study.set_user_attr("search", {"objective": "mAP"})
    study.add_trial(create_trial(value=0.5, user_attrs={"checkpoint": str(tmp_path), "metrics": {"mAP": 0.5}}))
    known = Known(stored=StoredStudy(study=study), data="some shards", manifest=None)
    words = shlex.split(commands(known)[0][1].replace("\\\n", " "))
    at = words.index("--set")
    assert override(get_recipe(words[words.index("--recipe") + 1]), parse_settings(words[at + 1 :], recipe)) == recipe
    assert words[:at] == [
        "python", "-m", "trainables.train", "--recipe", "agw-resnet50-tiny", "--data", "some shards",
        "--out", "out/agw-resnet50-tiny", "--fold", "2", "--seed", "5",
    ]  # fmt: skip


def test_a_command_in_lines_is_the_same_command() -> None:
    words = ["python", "-m", "x", "--space", "a b", "--storage=$HOME", "--set", "a=1", "'--no'"]
    assert shlex.split(in_lines(words).replace("\\\n", " ")) == words


@pytest.mark.slow
@pytest.mark.parametrize("space", space_names())
def test_every_row_of_a_paper_has_its_printed_numbers(space: str) -> None:
    tables = {recipe.table for recipe in RECIPES.values()}
    for scale in ("paper", "tiny"):
        for row in load_space(space, scale).baselines:
            table, numbers = printed_numbers(space, row)
            assert bool(numbers) == row.startswith("paper")
            assert table in tables | {""}
            assert all(0 < value < 1 for value in numbers.values())


def test_printed_numbers_are_the_papers() -> None:
    table, numbers = printed_numbers("transreid", "paper ViT-Stride")
    assert table == "LSASRD Table 5"
    assert numbers == pytest.approx({"mINP": 0.1314, "mAP": 0.4224, "cmc_1": 0.7472, "cmc_5": 0.8934})


@pytest.mark.slow
def test_mlflow_keeps_the_report_and_takes_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from mlflow import MlflowClient

    study_by_hand("one", database(tmp_path))
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.create_experiment("one", artifact_location=(tmp_path / "artifacts").as_uri())
    parent = client.create_run(experiment).info.run_id
    client.create_run(experiment, tags={"mlflow.parentRunId": parent, "trial": "0"})
    for number in range(2):
        found = report(capsys, "one", "--runs", tmp_path, "--out", tmp_path / f"out-{number}")
        assert found["mlflow_run_id"] == parent
    kept = {entry.path for entry in client.list_artifacts(parent, "report")}
    assert kept == {
        "report/index.html",
        "report/report.md",
        "report/trials.csv",
        "report/explore.html",
        "report/figures",
    }


@pytest.mark.slow
def test_a_store_that_is_away_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study_by_hand("one", database(tmp_path), trials=TRIALS[:2])
    words = ["one", "--runs", tmp_path, "--out", tmp_path / "out", "--tracking", "http://127.0.0.1:9"]
    main([*map(str, words), "--json"])
    printed = capsys.readouterr()
    assert json.loads(printed.out)["mlflow_run_id"] is None
    assert [line for line in printed.err.splitlines() if "http://127.0.0.1:9 has not taken the report" in line]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_whole_in_a_browser(written: dict[str, Any], scheme: str, width: int) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    loaded: list[str] = []
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("request", lambda request: loaded.append(request.url))
        page.on("dialog", lambda dialog: loaded.append(dialog.message))
        page.goto((written["out"] / "index.html").as_uri())
        page.locator("summary").click()
        root = page.evaluate("(({scrollWidth, clientWidth}) => [scrollWidth, clientWidth])(document.documentElement)")
        sizes = page.evaluate(
            "[...document.querySelectorAll('svg[role], img')].map(e => e.getBoundingClientRect().height)"
        )
        found = Axe().run(page).response["violations"]
        browser.close()
    assert root[0] <= root[1]
    assert len(sizes) == len(written["json"]["figures"])
    assert min(sizes) > 0
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []
    assert len(loaded) == 1


@pytest.mark.slow
def test_figures_to_explore_are_drawn_without_a_network(written: dict[str, Any]) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    from playwright.sync_api import sync_playwright

    troubles: list[str] = []
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("pageerror", lambda trouble: troubles.append(str(trouble)))
        page.on("dialog", lambda dialog: troubles.append(dialog.message))
        page.goto((written["out"] / "explore.html").as_uri())
        page.wait_for_selector(".js-plotly-plot .main-svg")
        drawn = page.locator(".js-plotly-plot").count()
        width = page.evaluate("document.documentElement.scrollWidth")
        browser.close()
    assert troubles == []
    assert drawn == len(re.findall(r'class="chart"', (written["out"] / "explore.html").read_text()))
    assert width <= 1280
