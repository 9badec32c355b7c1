"""Files that are damaged at random are refused in one line or read: no traceback, no hang."""

import json
import shutil
from collections.abc import Callable
from itertools import accumulate, count
from pathlib import Path

import optuna
import pytest

from platform import report
from platform.api import load_study
from platform.preflight import measure_step
from platform.resolved_search import ResolvedSearch
from platform.resources import this_machine
from platform.spaces.loading import load_space
from platform.tracking.journal import FIELDS, Journal, SentOffset
from platform.tracking.moved_artifacts import follow_move
from platform.tracking.quiet_mlflow import cause_of, client_of
from platform.tracking.study_runs import find_runs
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from tests.platform.fuzzed import answers
from tests.platform.searches import suggestions_of
from tests.platform.trainings_by_hand import lucky_third, search_by_hand
from trainables.inference.verification import Verification, read_verification, write_verification
from trainables.metrics.verification import Point
from trainables.profiling.measure_step import OneStep
from trainables.recipes.registry import recipe_from_dict
from trainables.training.checkpoint import load_model
from trainables.training.checkpoint_info import INFO_NAME, STATE_NAME, WEIGHTS_NAME
from trainables.training.resume import load_training
from trainables.training.train_state import prepare

FEW, MANY = 60, 2000
NUMBERS_OF_CASES = [FEW, pytest.param(MANY, marks=pytest.mark.slow)]
Read = Callable[[], None]


@pytest.fixture
def own(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint to damage, with thresholds."""
    shutil.copytree(checkpoint, tmp_path / "own")
    points = tuple(Point(0.1 * number, number / 100, 1 - number / 10) for number in range(10))
    counts = {"num_images": 40, "num_works": 4, "num_works_trained": 0, "num_same": 90, "num_different": 100}
    write_verification(tmp_path / "own", Verification(data="a", fold=0, split="val", area=0.5, points=points, **counts))
    return tmp_path / "own"


def assert_most_are_refused(file: Path, read: Read, num_cases: int) -> None:
    """Damage that changes nothing, such as a byte of a label, may be read."""
    refused = sum(bool(said) for said in answers(file, read, num_cases))
    assert refused > 0.3 * num_cases, f"{file.name}: the damage does no harm"
    read()


@pytest.mark.parametrize("num_cases", NUMBERS_OF_CASES)
def test_a_damaged_description_of_a_checkpoint_is_refused_or_read(num_cases: int, own: Path) -> None:
    def read() -> None:
        load_model(own)

    assert_most_are_refused(own / INFO_NAME, read, num_cases)


@pytest.mark.parametrize("num_cases", NUMBERS_OF_CASES)
def test_damaged_weights_are_refused_unless_the_damage_changes_nothing(num_cases: int, own: Path) -> None:
    file = own / WEIGHTS_NAME
    whole, changed = file.read_bytes(), []

    def read() -> None:
        changed.append(file.read_bytes() != whole)
        load_model(own)

    for said, differs in zip(answers(file, read, num_cases), changed, strict=False):
        assert bool(said) == differs
    assert sum(changed) > 0.9 * num_cases


@pytest.mark.parametrize("num_cases", NUMBERS_OF_CASES)
def test_damaged_thresholds_are_refused_or_read(num_cases: int, own: Path) -> None:
    def read() -> None:
        known = read_verification(own)
        assert known is not None
        point = known.at_rate(0.05)
        assert point.false_accept_rate <= 0.05

    assert_most_are_refused(own / "verification.json", read, num_cases)


@pytest.mark.parametrize("num_cases", NUMBERS_OF_CASES)
def test_a_damaged_database_of_studies_is_refused_or_read(
    num_cases: int, study: optuna.Study, search: ResolvedSearch, journal: Journal, tmp_path: Path
) -> None:
    search_by_hand(study, search, journal, lucky_third, tmp_path)

    def read() -> None:
        report.main(["--list", "--runs", str(search.stores.runs)])
        load_study(search.stores.study, runs=search.stores.runs).to_frame()

    assert_most_are_refused(search.stores.runs / "optuna.db", read, num_cases)


@pytest.mark.parametrize("num_cases", NUMBERS_OF_CASES)
def test_a_damaged_journal_loses_damaged_events_alone(num_cases: int, tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    with Journal(file) as journal:
        write_events(journal)

    def read() -> None:
        with Journal(file) as journal:
            events, offset = journal.read()
            assert offset == journal.size()
            assert journal.valid_offset(offset) == offset
            names = {kind: set(FIELDS[kind]) | {"kind"} for kind in FIELDS}
            assert all(names[event["kind"]] <= event.keys() for event in events)

    assert set(answers(file, read, num_cases)) == {""}


@pytest.mark.parametrize("num_cases", NUMBERS_OF_CASES)
def test_a_damaged_offset_is_an_offset_of_a_line_or_0(num_cases: int, tmp_path: Path) -> None:
    file = tmp_path / "journal.sent.json"
    with Journal(tmp_path / "journal.jsonl") as journal:
        write_events(journal)
        SentOffset(file, "x").save(journal.size())
        ends = {0, *accumulate(map(len, journal.path.read_bytes().splitlines(keepends=True)))}

        def read() -> None:
            offset = journal.valid_offset(SentOffset(file, "x").load())
            assert offset == 0 or journal.read(0)[1] >= offset
            assert offset in ends

        assert set(answers(file, read, num_cases)) == {""}


@pytest.mark.parametrize("num_cases", NUMBERS_OF_CASES)
def test_a_damaged_space_is_refused_or_loaded(num_cases: int, small_space_text: str, tmp_path: Path) -> None:
    file = tmp_path / "space.py"
    file.write_text(small_space_text)
    assert_most_are_refused(file, lambda: void(load_space(str(file), "tiny")), num_cases)


@pytest.mark.parametrize("num_cases", NUMBERS_OF_CASES)
def test_damaged_state_of_a_training_is_refused_or_loaded(
    num_cases: int, checkpoint: Path, shards: Path, tmp_path: Path
) -> None:
    own = shutil.copytree(checkpoint, tmp_path / "own")
    info = json.loads((own / INFO_NAME).read_text())
    recipe = recipe_from_dict(info["recipe"])
    training = prepare(recipe, read_manifest(shards), fold=info["fold"], seed=info["seed"])
    file = own / STATE_NAME
    whole, changed = file.read_bytes(), []

    def read() -> None:
        changed.append(file.read_bytes() != whole)
        load_training(training, own)

    for said, differs in zip(answers(file, read, num_cases // 10), changed, strict=False):
        assert bool(said) == differs
    # A checkpoint of 0.1.0 has no checksums, so that torch itself has to find the damage.
    (own / INFO_NAME).write_text(json.dumps({**info, "checksums": {}}))
    assert_most_are_refused(file, lambda: load_training(training, own), num_cases)


@pytest.mark.parametrize("num_cases", NUMBERS_OF_CASES)
def test_damaged_measurements_are_repeated(
    num_cases: int, quick_search: ResolvedSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, measured = OneStep(step_s=0.5, batch_images=16, peak_bytes=10**9), []

    def measure(*_: object) -> list[OneStep]:
        measured.append(step)
        return [step]

    monkeypatch.setattr(measure_step, "measure_steps", measure)
    search, machine = quick_search, [this_machine()]
    largest = suggestions_of(search).largest()

    def read() -> None:
        found = measure_step.remembered_step(search.setup, search.resources, largest, machine, [10**10], tmp_path)
        assert found == step

    read()
    assert set(answers(tmp_path / measure_step.MEASURED_NAME, read, num_cases)) == {""}
    assert len(measured) > 0.5 * num_cases
    known = len(measured)
    read()
    assert len(measured) == known


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of MLflow with a study of one trial."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    client = client_of(f"sqlite:///{file}")
    runs = find_runs(client, "one", "", file.parent)
    runs.parent = client.create_run(runs.experiment, run_name="one").info.run_id
    client.create_run(runs.experiment, tags={"mlflow.parentRunId": runs.parent, "trial": "0"})
    return file


@pytest.mark.parametrize(
    ("num_cases", "seed"), [(12, 0), *(pytest.param(500, seed, marks=pytest.mark.slow) for seed in range(4))]
)
def test_a_damaged_store_of_mlflow_is_refused_or_read(num_cases: int, seed: int, store: Path, tmp_path: Path) -> None:
    """Each case has a name of its own, because MLflow keeps connections by name."""
    names = (tmp_path / f"{number}.db" for number in count())
    known = find_runs(client_of(f"sqlite:///{store}"), "one", "", None)

    def read() -> None:
        file = Path(shutil.copy(tmp_path / "mlflow.db", next(names)))
        try:
            follow_move(file, "one", tmp_path / "artifacts")
            found = find_runs(client_of(f"sqlite:///{file}"), "one", "", tmp_path)
            assert found == known or file.read_bytes() != store.read_bytes()
        except (Error, AssertionError):
            raise
        except Exception as failure:  # as every caller reports what MLflow raises
            raise Error(cause_of(failure)) from failure
        finally:
            file.unlink()

    whole = Path(shutil.copy(store, tmp_path / "mlflow.db"))
    refused = sum(bool(said) for said in answers(whole, read, num_cases, seed))
    assert refused > 0.1 * num_cases
    read()


def write_events(journal: Journal) -> None:
    """One event of every kind."""
    journal.append("trial", trial=0, name="row", params={"lr": 0.1}, tags={"baseline": "row"}, time=100.0)
    for step in (1, 2):
        journal.append("metrics", trial=0, step=step, time=100.0 + step, values={"mAP": 0.1 * step})
    journal.append("tag", trial=0, key="reading", value="decoded", time=103.0)
    journal.append("end", trial=0, state="COMPLETE", reason="", time=104.0)
    journal.append("study", trial=0, metrics={"mAP": 0.2}, tags={}, checkpoint="", time=105.0)


def void(_: object) -> None:
    """Ignore a value."""
