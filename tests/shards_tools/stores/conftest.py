"""Local servers, each ended by the test run that started it, and retries that wait milliseconds."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from shards_tools.stores import retry
from tests.shards_tools.stores.servers import Web, free_port, make_certificate, served

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
Serve = Callable[..., str]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Disable proxies between the tests and their servers."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace waits and time limits of seconds by milliseconds."""
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 0.001)
    monkeypatch.setattr(retry, "READ_TIMEOUT_S", 0.3)


@pytest.fixture
def web() -> Iterator[Web]:
    """A small web server that misbehaves on request."""
    with Web() as server:
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `cert.pem` and `key.pem` for localhost and 127.0.0.1, self-signed."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def nginx(tmp_path: Path, certificate: Path) -> Iterator[Serve]:
    """`nginx(folder, settings="", tls=False)` starts a server of that folder and returns its address."""
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed; Debian has it as nginx-light")
    with ExitStack() as running:

        def start(folder: Path, settings: str = "", *, tls: bool = False) -> str:
            port = free_port()
            room = tmp_path / f"nginx-{port}"
            room.mkdir()
            secure = f"ssl_certificate {certificate}/cert.pem; ssl_certificate_key {certificate}/key.pem;"
            kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            temporary = " ".join(f"{kind}_temp_path {room}/{kind};" for kind in kinds)
            (room / "nginx.conf").write_text(
                f"daemon off; master_process off; pid {room}/pid; error_log {room}/errors; events {{}}\n"
                f"http {{ access_log {room}/requests; {temporary} server {{ root {folder}; {settings}\n"
                f"listen 127.0.0.1:{port}{' ssl' if tls else ''}; {secure if tls else ''} }} }}\n"
            )
            running.enter_context(served([program, "-c", room / "nginx.conf", "-e", room / "errors"], port))
            return f"http{'s' if tls else ''}://127.0.0.1:{port}"

        yield start
