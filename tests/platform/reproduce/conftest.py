"""Reproductions of small tables, and studies whose trainings are ended by hand."""

from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from PIL import Image

from platform.fixed_trials import Training, newest
from platform.paper_tables.reproduction import Reproduction, resolve_reproduction
from platform.paper_tables.results import Result, results_of
from platform.paper_tables.trainings import enqueue_missing, measured
from platform.reproduce import parser
from platform.resources import Machine
from platform.study import open_storage, open_study
from platform.tracking.journal import Journal
from shards_tools.build import build
from shards_tools.sources import folder
from trainables.evaluation.evaluation import Metrics

RANKED = ("mAP", "mINP", "cmc_1", "cmc_5")


@pytest.fixture
def reproduction_of(shards: Path, tmp_path: Path) -> Callable[..., Reproduction]:
    """Resolves a reproduction of lsasrd-5 at tiny scale on the drawn works, with these options added."""

    def make(*options: object) -> Reproduction:
        words = ("lsasrd-5", "--data", shards, "--scale", "tiny", "--runs", tmp_path / "runs", *options)
        return resolve_reproduction(parser().parse_args([str(word) for word in words]), Machine(2, 0))

    return make


@pytest.fixture(scope="session")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of two classes without tags."""
    place = tmp_path_factory.mktemp("classes")
    for name in ("ann", "bea"):
        for number in range(8):
            file = place / "source" / name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (30 * number, 200, len(name) * number + (name == "ann"))).save(file)
    build(folder.scan(place / "source"), place / "shards")
    return place / "shards"


def start(reproduction: Reproduction) -> optuna.Study:
    """The study as a start of this reproduction finds it, its missing trainings waiting."""
    study = open_study(reproduction.search, open_storage(reproduction.search.stores.storage))
    enqueue_missing(study, reproduction.trainings, reproduction.recipes)
    return study


def results_in(reproduction: Reproduction, study: optuna.Study) -> list[Result]:
    """The results of a table that is measured on the validation split."""
    with Journal(reproduction.search.stores.runs / "journal.jsonl") as journal:
        return results_from(reproduction, study, measured_in(reproduction, study, journal))


def measured_in(
    reproduction: Reproduction, study: optuna.Study, journal: Journal, *, interrupted: bool = False
) -> dict[Training, Metrics]:
    """The metrics of the completed trainings."""
    split, manifest = reproduction.split, reproduction.search.setup.manifest
    return measured(study, reproduction.trainings, journal, split=split, manifest=manifest, interrupted=interrupted)


def results_from(reproduction: Reproduction, study: optuna.Study, metrics: Mapping[Training, Metrics]) -> list[Result]:
    """The results of a table whose completed trainings have these metrics."""
    return results_of(
        reproduction.table,
        reproduction.recipes,
        reproduction.trainings,
        known=newest(study),
        measured=metrics,
        chance=reproduction.search.goal.chance,
    )


def end_next(study: optuna.Study, state: TrialState = TrialState.COMPLETE, **metrics: float) -> None:
    """End the training that waits first; of a complete one every metric is that of `value`, unless it is named."""
    trial = study.ask()
    trial.suggest_categorical("row", TABLE_ROWS)
    value = metrics.pop("value", 0.5)
    trial.set_user_attr("metrics", {**dict.fromkeys(RANKED, value), **metrics})
    trial.set_user_attr("reason", "it broke")
    study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)


TABLE_ROWS = ("DeiT-Small", "DeiT-Stride", "ViT-Small", "ViT-Base", "ViT-JPM", "ViT-Stride")
