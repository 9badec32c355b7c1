"""Checkpoints in a bucket, behind servers that speak S3 (rclone) and Google's protocol, and on a disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shards_tools.errors import Error
from shards_tools.stores import retry
from tests.gs_server import gs_server
from tests.s3_server import S3Server, opened_bucket
from trainables.training import checkpoint_store as places
from trainables.training.checkpoint_store import (
    BucketAway,
    bucket_of,
    fetched,
    is_there,
    patiently,
    remove,
    resumed,
    send,
)

TRIAL = "s3://bucket/some/study/trial-0001"


@pytest.fixture(params=["s3", "gs"])
def trial(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a trial's checkpoints in an empty bucket, to which the environment holds the keys."""
    if request.param == "s3":
        request.getfixturevalue("server")
        yield TRIAL
        return
    (tmp_path / "gs/bucket").mkdir(parents=True)
    with gs_server(tmp_path / "gs") as address:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
        yield TRIAL.replace("s3:", "gs:")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with opened_bucket(tmp_path, monkeypatch) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "weights").write_bytes(bytes(range(256)) * 50_000)  # larger than what is sent in one piece of 8 MB
    (folder / "info.json").write_text("{}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.filterwarnings("ignore:Sending a large body")  # as gcsfs does, which nobody is shown
def test_what_is_sent_comes_back(trial: str, folder: Path) -> None:
    place = f"{trial}/attempt-1/checkpoint_000000"
    assert not is_there(place)
    send(folder, place)
    assert is_there(place)
    with fetched(place) as copy:
        assert contents(copy) == contents(folder)
    assert not copy.exists()
    with fetched(place, ["info.json", "not there"]) as copy:
        assert list(contents(copy)) == ["info.json"]
    (folder / "info.json").write_text("[]")
    send(folder, place, ["info.json"])
    with resumed(place) as found:
        assert contents(found) == contents(folder)


@pytest.mark.filterwarnings("ignore:Sending a large body")
def test_a_copy_is_made_where_somebody_removes_what_a_kill_leaves(
    trial: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(folder, trial, ["info.json"])
    passing, given = tmp_path / "passing", tmp_path / "given"
    passing.mkdir()
    given.mkdir()
    monkeypatch.setenv(places.PASSING_VARIABLE, str(passing))
    with fetched(trial) as copy, fetched(trial, beside=given) as other:
        assert (copy.parent, other.parent) == (passing, given)
    passing.rmdir()  # as after the end of Ray
    with fetched(trial) as copy:
        assert contents(copy) == {"info.json": b"{}"}
    assert not passing.exists()


def test_what_is_to_be_kept_stays_when_the_rest_of_a_trial_is_removed(trial: str, folder: Path) -> None:
    for name in ("attempt-1/checkpoint_000000", "attempt-1/checkpoint_000001", "attempt-2/checkpoint_000000"):
        send(folder, f"{trial}/{name}", ["info.json"])
    other = trial.replace("0001", "00011")
    send(folder, other, ["info.json"])
    remove(trial, keep=f"{trial}/attempt-1/checkpoint_000001")
    bucket = bucket_of(trial.removesuffix("/trial-0001"))
    assert bucket is not None
    assert bucket.names() == ["trial-0001/attempt-1/checkpoint_000001/info.json", "trial-00011/info.json"]
    remove(trial)
    assert bucket.names() == ["trial-00011/info.json"]


def test_what_is_not_in_a_bucket_is_one_line(trial: str, folder: Path) -> None:
    nothing = trial.replace("/some/study/trial-0001", "/nothing")
    with pytest.raises(Error, match=f"{nothing} holds no files"), fetched(nothing):
        pass
    nowhere = trial.replace("bucket", "nobody")
    with pytest.raises(Error, match=f"The bucket {nowhere.removesuffix('/some/study/trial-0001')} does not exist"):
        send(folder, nowhere)


def test_what_a_bucket_refuses_is_one_line(server: S3Server, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(Error, match=r"cannot be written: .*Set AWS_ACCESS_KEY_ID"):
        send(folder, TRIAL)
    with pytest.raises(BucketAway, match="cannot be read"), resumed(TRIAL):
        pass


def test_a_bucket_that_is_away_for_a_moment_is_waited_for(
    server: S3Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.01)
    server.kill()
    tries = []

    def send_late() -> None:
        tries.append(0)
        if len(tries) == 2:
            server.start()
        send(folder, TRIAL)

    patiently(send_late)
    assert len(tries) == 2
    server.kill()
    remove(TRIAL)  # whose failure is nobody's harm
    monkeypatch.setattr(places, "MAY_BE_AWAY_S", 0.0)
    with pytest.raises(BucketAway, match=r"trial-0001/info\.json cannot be written: .*Try again later"):
        patiently(lambda: send(folder, TRIAL))


def test_a_folder_of_a_disk_is_where_it_is(folder: Path) -> None:
    with fetched(str(folder)) as same, resumed(str(folder)) as also:
        assert same == also == folder
    send(folder, str(folder))
    assert is_there(str(folder))
    remove(str(folder))
    assert not is_there(str(folder))
