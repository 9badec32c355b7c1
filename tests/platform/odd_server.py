"""A server in front of another one that passes requests on and answers with errors, garbage, or too late."""

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLOW_S = 4.0

# Name -> status, body, and the announced length of the body.
ANSWERS = {
    "an error": (500, b"Internal Server Error", None),
    "a page": (200, b"<html><body>Log in to the network</body></html>", None),
    "half an object": (200, b'{"experiments": [{"experi', None),
    "a body that breaks off": (200, b'{"exper', 4096),
    "nothing": (200, b"{}", None),
    "another type": (200, b"[1, 2]", None),
}


class OddServer:
    """Passes requests on while `how` is empty; otherwise gives the answer of that name, or `late`.

    Args:
        behind: the address of the server whose answers it passes on.
        executes: whether requests reach that server while the answers are odd.
    """

    def __init__(self, behind: str, *, executes: bool) -> None:
        self.behind, self.executes, self.how = behind, executes, ""
        odd = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                odd.answer(self)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join(30)

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        how = self.how
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        status, content, length = self._pass_on(request, body) if not how or self.executes else (200, b"{}", None)
        if how == "late":
            time.sleep(SLOW_S)
        elif how:
            status, content, length = ANSWERS[how]
        with suppress(OSError):  # the client may not wait
            request.send_response(status)
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(length or len(content)))
            request.end_headers()
            request.wfile.write(content)

    def _pass_on(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes, None]:
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        asked = urllib.request.Request(self.behind + request.path, body or None, headers, method=request.command)
        try:
            with urllib.request.urlopen(asked, timeout=60) as found:
                return found.status, found.read(), None
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read(), None
