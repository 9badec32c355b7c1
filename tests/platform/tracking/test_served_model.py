"""What a served model answers over HTTP to hostile, empty and large requests, and to many clients at once."""

import base64
import io
import json
import shutil
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from platform.tracking.model_registry import package
from shards_tools.manifest_file import read_manifest
from tests.platform.mlflow_server import served
from trainables.data.reading import Inputs
from trainables.device import Device
from trainables.inference.prediction import Predictor
from trainables.inference.verification import measure, write_verification

Row = dict[str, Any]
Answer = tuple[int, Any]  # the status, and the predictions or the message

NUM_CLIENTS = 20
EMPTY = [b"", b"{", b"[1]", b"{}", {"dataframe_records": []}, {"dataframe_records": 5}]


def encoded(seed: int) -> str:
    """A small picture in base64, wrapped into lines as the command `base64` does."""
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.encodebytes(file.getvalue()).decode()


def encoded_giant() -> str:
    """A picture of 100 megapixels in base64."""
    file = io.BytesIO()
    Image.new("L", (10_000, 10_000)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.fixture(scope="module")
def address(checkpoint: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a served model that has thresholds."""
    folder = tmp_path_factory.mktemp("served")
    measured = shutil.copytree(checkpoint, folder / "checkpoint")
    write_verification(measured, measure(measured, read_manifest(shards)))
    logged: Any = SimpleNamespace(artifact_location=str(folder / "model"), model_id="m-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns about its own code
        package(measured, folder / "model", logged, "a-run")
    with served(f"sqlite:///{folder}/mlflow.db", str(folder / "model"), folder / "served.log") as address:
        yield address


def post(address: str, body: object) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"})
    try:
        return 200, json.loads(urllib.request.urlopen(request, timeout=300).read())["predictions"]
    except urllib.error.HTTPError as refused:
        answer = json.loads(refused.read())
        assert "stack_trace" not in answer
        return refused.code, answer["message"]


def rows_of(address: str, rows: list[Row], **params: object) -> list[Row]:
    status, predictions = post(address, {"dataframe_records": rows, "params": params})
    assert status == 200, predictions
    return list(predictions)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"top": -3}, "top=-3 is invalid. Use an integer of at least 1."),
        ({"top": 0}, "top=0 is invalid. Use an integer of at least 1."),
        ({"top": None}, "top=None is invalid. Use an integer of at least 1."),
        ({"top": 2.5}, "'top'"),
        ({"top": "5"}, "'top'"),
        ({"false_accept_rate": -0.5}, "false_accept_rate=-0.5 is invalid. Use a number between 0 and 1."),
        ({"false_accept_rate": float("nan")}, "false_accept_rate=nan is invalid. Use a number between 0 and 1."),
        ({"false_accept_rate": None}, "false_accept_rate=None is invalid. Use a number between 0 and 1."),
        ({"false_accept_rate": 1e-9}, "A false accept rate of 1e-09 cannot be told from"),
    ],
    ids=str,
)
def test_an_invalid_parameter_is_refused_in_one_line(address: str, params: dict[str, object], message: str) -> None:
    status, text = post(address, {"dataframe_records": [{"image": encoded(0), "other": encoded(1)}], "params": params})
    assert status == 400
    assert message in text.splitlines()[-1]


@pytest.mark.slow
def test_a_row_without_other_gets_everything_but_the_comparison(address: str) -> None:
    pair, alone = {"image": encoded(0), "other": encoded(1)}, {"image": encoded(2)}
    with_pair, without, with_null = rows_of(address, [pair, alone, {**alone, "other": None}], false_accept_rate=0.5)
    assert isinstance(with_pair["same_work"], bool)
    assert (without["distance"], without["same_work"]) == (None, None)
    assert without == with_null
    (expected,) = rows_of(address, [alone])
    assert without["classes"] == expected["classes"]
    assert without["features"] == pytest.approx(expected["features"], abs=1e-6)


@pytest.mark.slow
def test_rows_that_cannot_be_read_name_themselves_and_the_others_are_answered(address: str) -> None:
    garbage = base64.b64encode(b"no picture").decode()
    cells = [None, "", "%%%", "abc", 5, [1], {"a": 1}, garbage, encoded(1)[:80], "data:image/png;base64,AAAA"]
    rows = [{"image": encoded(0)}, *({"image": cell} for cell in cells), {}, {"image": encoded_giant()}]
    answered, *broken = rows_of(address, rows)
    (expected,) = rows_of(address, rows[:1])
    assert answered["error"] is None
    assert answered["classes"] == expected["classes"]
    for number, row in enumerate(broken, 2):
        assert row["error"].startswith(f"picture {number} "), row
        assert (row["classes"], row["probabilities"], row["features"]) == ([], [], [])
    assert broken[0]["error"] == ("picture 2 is not text in base64 (None). Send the file of the picture in base64.")
    status, text = post(address, {"dataframe_records": rows[1:]})
    assert (status, text.splitlines()[-1]) == (400, "Error: " + broken[0]["error"].replace("picture 2", "picture 1"))


@pytest.mark.slow
@pytest.mark.parametrize("body", EMPTY, ids=str)
def test_a_request_without_rows_is_refused(address: str, body: object) -> None:
    assert post(address, body)[0] == 400
    assert rows_of(address, [{"image": encoded(0)}])


@pytest.mark.slow
def test_five_thousand_pictures_are_answered_like_each_alone(address: str) -> None:
    kinds = [{"image": encoded(seed)} for seed in range(10)]
    alone = [rows_of(address, [kind])[0] for kind in kinds]
    found = rows_of(address, kinds * 500)
    assert len(found) == 5000
    for place, row in enumerate(found):
        assert row["features"] == pytest.approx(alone[place % 10]["features"], abs=1e-5)


@pytest.mark.slow
def test_clients_at_once_get_the_answers_that_they_get_alone(address: str) -> None:
    kinds = [{"image": encoded(seed), "other": encoded(seed + 1)} for seed in range(NUM_CLIENTS)]
    requests = [kinds[place:] + kinds[:place] for place in range(NUM_CLIENTS)]
    alone = [rows_of(address, rows, false_accept_rate=0.5) for rows in requests]
    with ThreadPoolExecutor(NUM_CLIENTS) as clients:
        for _ in range(3):
            assert list(clients.map(lambda rows: rows_of(address, rows, false_accept_rate=0.5), requests)) == alone


def test_a_large_request_is_decoded_once_and_in_batches(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, read = Predictor(checkpoint), []
    inputs = predictor.of_cells(dict.fromkeys(range(600), encoded(0)))
    at = Inputs.at

    def recorded(self: Inputs, indices: np.ndarray, device: Device) -> Any:
        read.append(indices)
        return at(self, indices, device)

    with monkeypatch.context() as patch:
        patch.setattr(Inputs, "at", recorded)
        features_ND, probabilities_NC = predictor.predict(inputs, 600)
    assert np.concatenate(read).tolist() == list(range(600))
    assert max(map(len, read)) <= 256
    np.testing.assert_allclose(features_ND, predictor.features(inputs, 600), rtol=0, atol=1e-6)
    np.testing.assert_allclose(probabilities_NC.sum(axis=1), 1, rtol=0, atol=1e-5)
