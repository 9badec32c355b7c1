"""A store that fails temporarily is retried with exponential backoff, jitter and a limit."""

import random
import time

import pytest

from shards_tools.errors import Error
from shards_tools.stores import open_store, retry
from tests.shards_tools.stores.servers import Web, say

DATA = bytes(range(256))


@pytest.fixture
def web(web: Web, impatient: None) -> Web:
    web.files["/set/a.tar"] = DATA
    return web


def read(web: Web) -> bytes:
    return open_store(f"{web.address}/set").read("a.tar", 100, 50)


def refused(web: Web) -> str:
    with pytest.raises(Error) as mistake:
        read(web)
    assert f"{web.address}/set/a.tar cannot be read: the server says" in str(mistake.value)
    return str(mistake.value)


def test_a_server_that_stays_broken_is_given_up_on_and_named(web):
    web.tricks = [say(500)] * 99
    assert f"cannot be read: the server says 500 Internal Server Error (tried {retry.MAX_ASKS} times in" in refused(web)
    assert len(web.asked) == retry.MAX_ASKS


def test_waits_double_and_differ_and_end(web, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(retry, "sleep", waits.append)
    monkeypatch.setattr(retry, "FIRST_WAIT_S", 1.0)
    for _ in range(20):
        web.tricks = [say(503)] * retry.MAX_ASKS
        refused(web)
    rounds = [waits[start : start + 4] for start in range(0, len(waits), 4)]
    for number in range(4):
        these = [wait[number] for wait in rounds]
        assert 0.5 * 2**number <= min(these) < max(these) <= 1.5 * 2**number
        assert max(these) - min(these) > 0.2 * 2**number


def test_asking_again_draws_nothing_from_the_random_numbers_of_others(web):
    random.seed(3)
    before = random.getstate()
    web.tricks = [say(503)]
    read(web)
    assert random.getstate() == before


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_the_server_says_how_long_to_wait(web, monkeypatch, form):
    waits: list[float] = []
    monkeypatch.setattr(retry, "sleep", waits.append)
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 8))
    web.tricks = [say(503, Retry_After="7" if form == "seconds" else later)]
    assert read(web) == DATA[100:150]
    assert len(waits) == 1
    assert 6 <= waits[0] <= 8


def test_a_wait_beyond_patience_is_said_at_once(web):
    web.tricks = [say(429, Retry_After="3600")]
    assert "tried once; the server asks to wait 3600 s" in refused(web)
    assert len(web.asked) == 1


def test_a_retry_after_that_is_none_is_passed_over(web):
    web.tricks = [say(503, Retry_After="soon")]
    assert read(web) == DATA[100:150]
