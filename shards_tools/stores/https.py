"""A folder on a web server that answers range requests."""

import base64
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from urllib.parse import quote, urljoin, urlsplit

import urllib3
from urllib3.response import BaseHTTPResponse

from shards_tools.errors import Unreadable
from shards_tools.stores import retry
from shards_tools.stores.retry import Stumble
from shards_tools.stores.store import RemoteStore

MAX_REDIRECTS = 5
CHUNK_BYTES = 2**18


class HttpStore(RemoteStore):
    """Files below an https:// address, read by byte ranges over persistent connections.

    The store reads no more bytes than it requested, and follows redirects only within the server of the address.
    """

    def exists(self) -> bool:
        """Return True: a web server does not tell whether a folder exists."""
        return True

    def _connect(self) -> urllib3.PoolManager:
        return urllib3.PoolManager(maxsize=32, retries=False)

    def _ask_size(self, name: str) -> int | None:
        with self._ask("HEAD", name) as answer:
            if answer.status in (404, 410):
                return None
            self._check_status(answer, name, {200})
            length = answer.headers.get("Content-Length", "")
            if not length.isdecimal():
                raise Unreadable(
                    f"{self.place(name)} has no Content-Length. Use a server that sends it, such as nginx."
                )
            return int(length)

    def _ask_range(self, name: str, start: int, size: int) -> bytes:
        with self._ask("GET", name, {"Range": f"bytes={start}-{start + size - 1}"}) as answer:
            if answer.status in (404, 410):
                raise Unreadable(f"{self.place(name)} is missing: the server says {_status(answer)}. Upload it again.")
            if answer.status == 416:
                raise Unreadable(
                    f"{self.place(name)} ends before {start + size:,} bytes: the server says {_status(answer)}."
                    " Upload it again."
                )
            self._check_status(answer, name, {200, 206})
            self._check_range(answer, name, start, size)
            return self._take(answer, name, size)

    def _check_status(self, answer: BaseHTTPResponse, name: str, fine: set[int]) -> None:
        if answer.status in retry.STUMBLING:
            raise Stumble(f"the server says {_status(answer)}", _retry_after_s(answer))
        if answer.status in (401, 403):
            way_out = "Use https://USER:PASSWORD@HOST/PATH, or ask the server's owner for access."
            raise Unreadable(f"{self.place(name)} cannot be read: the server says {_status(answer)}. {way_out}")
        if answer.status not in fine:
            raise Unreadable(
                f"{self.place(name)} cannot be read: the server says {_status(answer)}. Check the address."
            )
        if answer.headers.get("Content-Encoding", "identity") != "identity":
            raise Unreadable(
                f"{self.place(name)} was sent compressed, but plain bytes were requested. Turn off compression there."
            )

    def _check_range(self, answer: BaseHTTPResponse, name: str, start: int, size: int) -> None:
        length = answer.headers.get("Content-Length")
        if answer.status == 200:
            if start or (length is not None and length != str(size)):
                way_out = "Use a server that supports them, such as nginx, or copy the shards to a local folder."
                raise Unreadable(f"{self.place(name)}: the server ignores range requests. {way_out}")
            return
        said = answer.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", said)
        if found and int(found[1]) == start and int(found[2]) < start + size - 1 and found[3] == str(int(found[2]) + 1):
            raise Unreadable(
                f"{self.place(name)} ends after {int(found[3]):,} bytes, but {start + size:,} were expected."
                " Upload it again."
            )
        if not found or (int(found[1]), int(found[2])) != (start, start + size - 1):
            asked = f"bytes {start}-{start + size - 1}"
            raise Unreadable(
                f"{self.place(name)}: the server sent {said!r:.80} instead of {asked}. Use another server."
            )
        if length is not None and length != str(size):
            raise Unreadable(
                f"{self.place(name)}: the server sent {length} bytes instead of {size:,}. Use another server."
            )

    def _take(self, answer: BaseHTTPResponse, name: str, size: int) -> bytes:
        """Read the body to its end, so that the connection can be reused; read at most one byte too many."""
        data, until = bytearray(), time.monotonic() + retry.seconds_for(size)
        while len(data) <= size:
            chunk = answer.read1(min(CHUNK_BYTES, size + 1 - len(data)))
            if not chunk:
                break
            data += chunk
            if time.monotonic() > until:
                raise Stumble(f"only {len(data):,} of {size:,} bytes arrived in {retry.seconds_for(size):.0f} s")
        if len(data) > size:
            raise Unreadable(
                f"{self.place(name)}: the server sent more than the {size:,} bytes that were requested."
                " Use another server."
            )
        if len(data) < size:
            raise Stumble(f"the connection ended after {len(data):,} of {size:,} bytes")
        return bytes(data)

    @contextmanager
    def _ask(self, method: str, name: str, headers: dict[str, str] | None = None) -> Iterator[BaseHTTPResponse]:
        """Yield the response after redirects; a failed connection is a Stumble, a bad certificate an Error."""
        url = f"{self._address}/{quote(name)}"
        try:
            answer = self._send(method, url, headers or {})
            for _ in range(MAX_REDIRECTS):
                if answer.status not in (301, 302, 303, 307, 308):
                    break
                answer.close()
                url = self._followed(url, answer.headers.get("Location", ""), name)
                answer = self._send(method, url, headers or {})
            try:
                yield answer
            except BaseException:
                answer.close()
                raise
            answer.release_conn()
        except urllib3.exceptions.SSLError as failure:
            reason = " ".join(str(failure).split())
            raise Unreadable(f"{self.place(name)} cannot be read: {reason:.300}. Check the certificate.") from failure
        except urllib3.exceptions.HTTPError as failure:
            raise Stumble(_reason(failure)) from failure

    def _send(self, method: str, url: str, headers: dict[str, str]) -> BaseHTTPResponse:
        headers = {"Accept-Encoding": "identity", "User-Agent": "sakuga"} | headers
        if self._address.user:
            pair = f"{self._address.user}:{self._address.password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        timeout = urllib3.Timeout(connect=retry.CONNECT_TIMEOUT_S, read=retry.READ_TIMEOUT_S)
        pool: urllib3.PoolManager = self._connection
        return pool.request(
            method, url, headers=headers, timeout=timeout, redirect=False, preload_content=False, decode_content=False
        )

    def _followed(self, url: str, location: str, name: str) -> str:
        target = urljoin(url, location)
        if _server(target) != _server(url):
            where = "://".join(_server(target))
            way_out = "Use that address directly if you trust it."
            raise Unreadable(f"{self.place(name)} redirects to {where:.100}, which is not followed. {way_out}")
        return target


def _server(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return parts.scheme, host.removesuffix(":443" if parts.scheme == "https" else ":80")


def _status(answer: BaseHTTPResponse) -> str:
    return f"{answer.status} {answer.reason or ''}".strip()


def _reason(failure: urllib3.exceptions.HTTPError) -> str:
    if isinstance(failure, urllib3.exceptions.NameResolutionError):
        return "the host has no address"
    if isinstance(failure, urllib3.exceptions.NewConnectionError):
        return "no connection to the server"
    if isinstance(failure, urllib3.exceptions.TimeoutError):
        return "the server did not answer in time"
    return f"the connection broke ({type(failure).__name__})"


def _retry_after_s(answer: BaseHTTPResponse) -> float:
    """Return the wait that the server requests, given in seconds or as a date; 0 if there is none."""
    text = answer.headers.get("Retry-After", "")
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return 0.0
