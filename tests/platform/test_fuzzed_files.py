"""Files that are damaged at random are refused in one line or read: no traceback, no hang."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.platform.fuzzed import answers
from trainables.inference.verification import Verification, read_verification, write_verification
from trainables.metrics.verification import Point
from trainables.training.checkpoint import INFO_NAME, WEIGHTS_NAME, load_model

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
@pytest.mark.parametrize("name", [INFO_NAME, WEIGHTS_NAME])
def test_a_damaged_checkpoint_is_refused_or_read(name: str, num_cases: int, own: Path) -> None:
    def read() -> None:
        load_model(own)

    assert_most_are_refused(own / name, read, num_cases)


@pytest.mark.parametrize("num_cases", NUMBERS_OF_CASES)
def test_damaged_thresholds_are_refused_or_read(num_cases: int, own: Path) -> None:
    def read() -> None:
        known = read_verification(own)
        assert known is not None
        point = known.at_rate(0.05)
        assert point.false_accept_rate <= 0.05

    assert_most_are_refused(own / "verification.json", read, num_cases)
