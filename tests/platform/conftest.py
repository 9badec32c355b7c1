"""A small space, and resolved searches of it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest

from platform import run_paths
from platform.resilient_storage import PatientStorage
from platform.resolve import resolve_search
from platform.resolved_search import ResolvedSearch
from platform.search import parse
from platform.study import open_storage, open_study
from platform.tracking.journal import Journal
from shards_tools.build import build
from shards_tools.sources.lsasrd import cut_into_folds, scan
from tests.conftest import draw_tree
from trainables import train

# Eight parameters are too many to wait for: one learning rate, one switch, and two rows by hand.
SMALL_SPACE = """
def suggest(trial):
    return {
        "recipe": "transreid-tiny",
        "backbone": "vit_64x3",
        "image_size": 32,
        "images_per_epoch": 512,
        "works_per_batch": 4,
        "images_per_work": 4,
        "epochs": 4,
        "erase_probability": trial.suggest_categorical("erase_probability", (0.0, 0.5)),
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
    }


BASELINES = {"paper row": {"erase_probability": 0.5, "lr": 1e-4}, "hand-set": {"erase_probability": 0.0, "lr": 1e-3}}
"""

# What draws other numbers on every rank is off, so that ranks differ from one process by rounding alone. The number is
# that of the images of an epoch.
RANKS_SPACE = """
def suggest(trial):
    return {
        "recipe": "transreid-tiny",
        "backbone": "vit_64x3",
        "image_size": 32,
        "images_per_epoch": %d,
        "works_per_batch": 4,
        "images_per_work": 4,
        "epochs": 3,
        "erase_probability": 0.0,
        "drop_path": 0.0,
        "lr": trial.suggest_float("lr", 1e-4, 1e-2, log=True),
    }
"""
# A batch norm takes away the bias of the layer norm before it, so the gradient of that bias is rounding error alone.
# Adam scales it to full steps, which differ between processors and move mAP by .002; SGD leaves it as it is. SGD's
# learning rates above 1e-2 make each difference a hundred times as large.
RANKS_SPACE_WITH_SGD = re.sub(
    '"lr": .*(?=,)', '"optimizer": "sgd", "lr": trial.suggest_float("lr", 1e-3, 1e-2, log=True)', RANKS_SPACE
)


@pytest.fixture(autouse=True)
def _forget_runs() -> Iterator[None]:
    """Forget the folder of --runs that a test has used in this process."""
    yield
    run_paths._runs.clear()


@pytest.fixture(scope="session")
def small_space_text() -> str:
    """The source of the small space."""
    return SMALL_SPACE


@pytest.fixture
def small_space(tmp_path: Path) -> Path:
    """A space file with two parameters and two baselines."""
    path = tmp_path / "small.py"
    path.write_text(SMALL_SPACE)
    return path


@pytest.fixture(scope="session")
def checkpoint(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two short epochs on the drawn works."""
    out = tmp_path_factory.mktemp("trained") / "out"
    words = ["--recipe", "transreid-tiny", "--data", str(shards), "--out", str(out), "--epochs", "2", "--set"]
    small = ["backbone=vit_64x3", "stride_px=8", "works_per_batch=4", "images_per_epoch=64", "warmup_epochs=0"]
    train.main([*words, *small])
    return out / "last"


@pytest.fixture(scope="session")
def five_folds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards of fifteen works in five folds."""
    out = tmp_path_factory.mktemp("five-folds") / "shards"
    tree = draw_tree(tmp_path_factory.mktemp("five-folds-tree"), num_train=15, num_test=0, num_roles=4)
    build(cut_into_folds(scan(tree), 0), out)
    return out


@pytest.fixture
def search_of(shards: Path, small_space: Path, tmp_path: Path) -> Callable[..., ResolvedSearch]:
    """Resolves a search of the small space, its stores under `tmp_path`, with these options added."""

    def make(*options: object) -> ResolvedSearch:
        words = ("--space", small_space, "--data", shards, "--runs", tmp_path / "runs", *options)
        return resolve_search(parse([str(word) for word in words])[0])

    return make


@pytest.fixture
def search(search_of: Callable[..., ResolvedSearch]) -> ResolvedSearch:
    """A search of six trials."""
    return search_of("--trials", 6)


@pytest.fixture(scope="session")
def quick_search(tmp_path_factory: pytest.TempPathFactory, shards: Path, small_space_text: str) -> ResolvedSearch:
    """A search of six trials, for who writes nothing."""
    folder = tmp_path_factory.mktemp("quick")
    (folder / "small.py").write_text(small_space_text)
    words = ["--space", str(folder / "small.py"), "--data", str(shards), "--runs", str(folder), "--trials", "6"]
    return resolve_search(parse(words)[0])


@pytest.fixture
def storage(search: ResolvedSearch) -> PatientStorage:
    """Optuna's database of the search."""
    return open_storage(search.stores.storage)


@pytest.fixture
def study(search: ResolvedSearch, storage: PatientStorage) -> optuna.Study:
    """The study of the search, its rows by hand waiting."""
    return open_study(search, storage)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty one."""
    with Journal(tmp_path / "journal.jsonl") as journal:
        yield journal
