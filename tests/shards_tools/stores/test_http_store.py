"""A misbehaving web server is retried or rejected in one line; its bytes are those that were requested."""

import copy
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from shards_tools.errors import Error
from shards_tools.stores import open_store
from tests.shards_tools.stores.servers import Web, answer, answer_range, free_port, say

DATA = bytes(range(256)) * 40


@pytest.fixture
def web(web: Web, impatient: None) -> Web:
    web.files["/set/a.tar"] = DATA
    return web


def read(web: Web, start: int = 100, size: int = 50, name: str = "a.tar") -> bytes:
    return open_store(f"{web.address}/set").read(name, start, size)


def refused(web: Web, start: int = 100, size: int = 50) -> str:
    with pytest.raises(Error) as mistake:
        read(web, start, size)
    assert "\n" not in str(mistake.value)
    assert f"{web.address}/set/a.tar" in str(mistake.value)
    return str(mistake.value)


def hang_up(request: Any) -> None:
    request.connection.shutdown(socket.SHUT_RDWR)
    request.close_connection = True


def garbage(request: Any) -> None:
    request.wfile.write(b"no HTTP at all\r\n\r\n")
    hang_up(request)


def cut(request: Any) -> None:
    answer(request, 206, DATA[100:120], length=50, Content_Range=f"bytes 100-149/{len(DATA)}")
    hang_up(request)


def short(request: Any) -> None:
    request.send_response(206)
    request.send_header("Content-Range", f"bytes 100-149/{len(DATA)}")
    request.end_headers()
    request.wfile.write(DATA[100:120])
    request.close_connection = True


def silent(request: Any) -> None:
    time.sleep(0.6)
    request.close_connection = True


def dribble(request: Any) -> None:
    request.send_response(206)
    request.send_header("Content-Range", f"bytes 100-149/{len(DATA)}")
    request.send_header("Content-Length", "50")
    request.end_headers()
    for byte in DATA[100:150]:
        request.wfile.write(bytes([byte]))
        time.sleep(0.1)


def endless(request: Any) -> None:
    request.send_response(206)
    request.send_header("Content-Range", f"bytes 100-149/{len(DATA)}")
    request.send_header("Transfer-Encoding", "chunked")
    request.end_headers()
    request.server.num_chunks = 0
    while request.server.num_chunks < 10_000:
        request.wfile.write(b"1000\r\n" + bytes(4096) + b"\r\n")
        request.server.num_chunks += 1


def test_what_was_asked_for_comes_over_one_connection(web):
    store = open_store(f"{web.address}/set")
    assert store.size("a.tar") == len(DATA)
    for start in (0, 100, len(DATA) - 50):
        assert store.read("a.tar", start, 50) == DATA[start : start + 50]
    assert store.read("a.tar", 0, len(DATA)) == DATA
    assert store.read("a.tar", 7, 0) == b""
    assert web.asked[:2] == ["HEAD /set/a.tar", "GET /set/a.tar 0-49"]
    assert web.num_connections == 1


def test_a_file_that_is_not_there_has_no_size_and_is_named(web):
    store = open_store(f"{web.address}/set")
    assert store.size("b.tar") is None
    with pytest.raises(Error, match=r"set/b\.tar is missing: the server says 404"):
        store.read("b.tar", 0, 10)
    assert len(web.asked) == 2  # a 404 is not retried


@pytest.mark.parametrize(
    "name", ["../a.tar", "/etc/passwd", "a/b", "", ".", "..", "a?b", "a b", "a#b", "%2e%2e", "a\n"]
)
def test_a_name_that_leads_elsewhere_is_refused_unasked(web, name):
    store = open_store(f"{web.address}/set")
    for ask in (store.size, lambda name: store.read(name, 0, 1)):
        with pytest.raises(Error, match="is not a valid file name in"):
            ask(name)
    assert web.asked == []


@pytest.mark.parametrize(
    "trick",
    [
        *(say(status, b"<html>try later</html>") for status in (408, 429, 500, 502, 503, 504)),
        hang_up,
        cut,
        short,
        silent,
        dribble,
        garbage,
    ],
    ids=["408", "429", "500", "502", "503", "504", "hang_up", "cut", "short", "silent", "dribble", "garbage"],
)
def test_what_may_pass_is_asked_again(web, trick):
    web.tricks = [trick]
    assert read(web) == DATA[100:150]
    assert len(web.asked) == 2


@pytest.mark.parametrize(
    ("trick", "complaint"),
    [
        (say(200, DATA), "the server ignores range requests"),
        (say(200, b"<html>Not found</html>"), "the server ignores range requests"),
        (say(206, DATA[:50], Content_Range=f"bytes 0-49/{len(DATA)}"), "the server sent 'bytes 0-49/"),
        (say(206, DATA[100:150]), "the server sent '' instead of bytes 100-149"),
        (say(206, DATA[100:150], Content_Range="bytes 100-149"), "the server sent 'bytes 100-149' instead"),
        (say(206, DATA[100:200], Content_Range="bytes 100-199/9999"), "the server sent 'bytes 100-199/9999' instead"),
        (say(206, DATA[100:200], Content_Range="bytes 100-149/9999"), "sent 100 bytes instead of 50"),
        (say(206, DATA[100:150], Content_Range="bytes 100-149/9999", Content_Encoding="gzip"), "was sent compressed"),
        (say(401), "cannot be read: the server says 401 Unauthorized. Use https://USER:PASSWORD@HOST/PATH"),
        (say(403), "cannot be read: the server says 403 Forbidden"),
        (say(400), "cannot be read: the server says 400 Bad Request"),
        (endless, "sent more than the 50 bytes that were requested"),
    ],
)
def test_what_another_try_cannot_cure_is_refused_at_once(web, trick, complaint):
    web.tricks = [trick]
    assert complaint in refused(web)
    assert len(web.asked) == 1


def test_a_body_without_end_is_not_read_to_its_end(web):
    web.tricks = [endless]
    refused(web)
    time.sleep(0.2)
    assert web.num_chunks < 5_000


def test_a_server_without_ranges_may_send_the_whole_file_when_all_of_it_was_asked_for(web):
    web.tricks = [say(200, DATA)]
    assert read(web, 0, len(DATA)) == DATA


def test_a_file_that_ends_early_is_named_with_its_length(web):
    assert f"ends after {len(DATA):,} bytes, but {len(DATA) + 10:,} were expected" in refused(web, len(DATA) - 10, 20)
    assert f"ends before {len(DATA) + 20:,} bytes" in refused(web, len(DATA) + 10, 10)


def test_a_size_that_the_server_does_not_say_is_refused(web, monkeypatch):
    def head(request: Any) -> None:
        request.send_response(200)
        request.end_headers()

    monkeypatch.setattr(web.RequestHandlerClass, "do_HEAD", head)
    with pytest.raises(Error, match="has no Content-Length"):
        open_store(f"{web.address}/set").size("a.tar")


def test_a_redirect_within_the_server_is_followed(web):
    web.files["/moved/a.tar"] = DATA
    web.tricks = [say(302, Location="/moved/a.tar")]
    assert read(web) == DATA[100:150]
    web.tricks = [say(307, Location=f"{web.address}/moved/a.tar")]
    assert read(web) == DATA[100:150]
    assert web.asked[-1] == "GET /moved/a.tar 100-149"


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{other}/set/a.tar",
        "http://localhost:{port}/set/a.tar",
        "http://169.254.169.254/latest/meta-data",
        "https://host.example/a.tar",
        "file:///etc/passwd",
        "ftp://127.0.0.1/a.tar",
        "//host.example/a.tar",
    ],
)
def test_a_redirect_elsewhere_is_not_followed(web, location):
    with Web() as other:
        other.files["/set/a.tar"] = DATA
        web.tricks = [say(302, Location=location.format(other=other.server_port, port=web.server_port))]
        assert "which is not followed" in refused(web)
        assert other.asked == []
    assert len(web.asked) == 1


def test_redirects_in_a_circle_end(web):
    web.tricks = [say(302, Location="/set/a.tar")] * 99
    assert "the server says 302" in refused(web)
    assert len(web.asked) < 10


def test_a_server_that_is_gone_is_named(impatient):
    store = open_store(f"http://127.0.0.1:{free_port()}/set")
    with pytest.raises(Error, match=r"a\.tar cannot be read: no connection to the server \(tried 5 times"):
        store.read("a.tar", 0, 1)


def test_threads_share_a_store(web):
    store = open_store(f"{web.address}/set")
    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(lambda start: store.read("a.tar", start, 64), range(0, len(DATA), 64)))
    assert b"".join(parts) == DATA
    assert web.num_connections <= 8


# Python 3.12 warns about forks; the child only reads and exits at once.
@pytest.mark.integration
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_opens_connections_of_its_own(web):
    store = open_store(f"{web.address}/set")
    store.read("a.tar", 0, 10)
    before = web.num_connections
    child = os.fork()
    if child == 0:
        os._exit(0 if store.read("a.tar", 10, 10) == DATA[10:20] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert web.num_connections == before + 1
    assert store.read("a.tar", 20, 10) == DATA[20:30]
    assert web.num_connections == before + 1


def test_a_copy_reads_too(web):
    store = open_store(f"{web.address}/set")
    store.read("a.tar", 0, 10)
    assert copy.deepcopy(store).read("a.tar", 5, 5) == DATA[5:10]


def test_the_right_answer_is_what_a_trickless_server_gives(web):
    web.tricks = [answer_range]
    assert read(web) == DATA[100:150]
