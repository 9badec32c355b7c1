"""Servers that the tests start: a web server that misbehaves on request, and any program that listens on a port."""

import datetime
import ipaddress
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def served(command: Sequence[object], port: int, environment: dict[str, str] | None = None) -> Iterator[None]:
    """Run the program in the context, once its port answers; end it by its process id."""
    words = [str(word) for word in command]
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), 5).close()
                    break
                except OSError:
                    assert server.poll() is None, f"{words[0]} ended"
                    assert time.monotonic() < deadline, f"{words[0]} does not answer"
                    time.sleep(0.02)
            yield
        finally:
            server.terminate()


class Web(ThreadingHTTPServer):
    """Serves `files` correctly, but answers GET with the next of `tricks` while there are any."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.tricks: list[Callable[[Any], None]] = []
        self.asked: list[str] = []  # "GET /name 0-9" of each request
        self.num_connections = 0
        self.address = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> "Web":
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: Any) -> None:
        """Log nothing: in some tests clients hang up early on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise a body waits 40 ms for its header
    server: Web

    def setup(self) -> None:
        super().setup()
        self.server.num_connections += 1

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._note()
        data = self.server.files.get(self.path)
        answer(self, 404 if data is None else 200, length=len(data or b""))

    def do_GET(self) -> None:
        self._note()
        if self.server.tricks:
            self.server.tricks.pop(0)(self)
        else:
            answer_range(self)

    def _note(self) -> None:
        span = self.headers.get("Range", "").removeprefix("bytes=")
        self.server.asked.append(f"{self.command} {self.path} {span}".strip())


def answer(request: Any, status: int, body: bytes = b"", length: int | None = None, **headers: str) -> None:
    """Send one complete answer; `length` overrides its Content-Length."""
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", str(len(body) if length is None else length))
    request.end_headers()
    request.wfile.write(body)


def say(status: int, body: bytes = b"", **more: Any) -> Callable[[Any], None]:
    """Return the trick that sends one complete answer: see `answer`."""
    return lambda request: answer(request, status, body, **more)


def answer_range(request: Any) -> None:
    """Answer a range request as a correct server does."""
    data = request.server.files.get(request.path)
    span = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
    if data is None or span is None:
        answer(request, 404 if data is None else 200, data or b"")
        return
    start, end = int(span[1]), min(int(span[2]), len(data) - 1)
    if start >= len(data):
        answer(request, 416, Content_Range=f"bytes */{len(data)}")
    else:
        answer(request, 206, data[start : end + 1], Content_Range=f"bytes {start}-{end}/{len(data)}")


def make_certificate(folder: Path) -> Path:
    """Write `cert.pem` and `key.pem` for localhost and 127.0.0.1 into the folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    key_pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / "key.pem").write_bytes(key_pem)
    return folder
