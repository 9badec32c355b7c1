"""Plans of small tables, and studies whose trainings are ended by hand."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from PIL import Image

from platform.fixed_trials import newest
from platform.paper_tables.enqueue import enqueue_missing
from platform.paper_tables.measured import measured
from platform.paper_tables.options import TablePlan, make_table_plan
from platform.paper_tables.results import Result, results_of
from platform.reproduce import parser
from platform.resources import Machine
from platform.study import open_storage, open_study
from platform.tracking.journal import Journal
from shards_tools.build import build
from shards_tools.sources import folder

RANKED = ("mAP", "mINP", "cmc_1", "cmc_5")


@pytest.fixture
def table_plan_of(shards: Path, tmp_path: Path) -> Callable[..., TablePlan]:
    """Makes the plan of lsasrd-5 at tiny scale on the drawn works, with these options added."""

    def make(*options: object) -> TablePlan:
        words = ("lsasrd-5", "--data", shards, "--scale", "tiny", "--runs", tmp_path / "runs", *options)
        return make_table_plan(parser().parse_args([str(word) for word in words]), Machine(2, 0))

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


def start(table_plan: TablePlan) -> optuna.Study:
    """The study as a start of this plan finds it, its missing trainings waiting."""
    study = open_study(table_plan.search, open_storage(table_plan.search.stores.storage))
    enqueue_missing(study, table_plan)
    return study


def results_in(table_plan: TablePlan, study: optuna.Study) -> list[Result]:
    """The results of a table that is measured on the validation split."""
    known = newest(study)
    with Journal(table_plan.search.stores.runs / "journal.jsonl") as journal:
        return results_of(table_plan, known, measured(study, table_plan, known, journal, interrupted=False))


def end_next(study: optuna.Study, state: TrialState = TrialState.COMPLETE, **metrics: float) -> None:
    """End the training that waits first; of a complete one every metric is that of `value`, unless it is named."""
    trial = study.ask()
    trial.suggest_categorical("row", TABLE_ROWS)
    value = metrics.pop("value", 0.5)
    trial.set_user_attr("metrics", {**dict.fromkeys(RANKED, value), **metrics})
    trial.set_user_attr("reason", "it broke")
    study.tell(trial, value if state == TrialState.COMPLETE else None, state=state)


TABLE_ROWS = ("DeiT-Small", "DeiT-Stride", "ViT-Small", "ViT-Base", "ViT-JPM", "ViT-Stride")
