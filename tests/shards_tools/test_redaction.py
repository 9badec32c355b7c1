"""No password and no token is shown, wherever an address or a library's message holds it."""

import json
import random
import string

import pytest
from sqlalchemy.engine import make_url

from shards_tools.command import print_data, print_json, say
from shards_tools.errors import Error, reason_of
from shards_tools.redaction import redact
from tests.platform.fuzzed import limited

SECRET = "Gah3-im"
ADDRESSES = (
    "postgresql+psycopg://me:{}@host:5432/name",
    "postgresql://host/name?user=me&password={}",
    "postgresql://host/name?PASSWORD={}&sslmode=require",
    "postgresql://me@host/name?sslpassword={}",
    "https://me:{}@host/shards",
    "https://{}@host/shards",
    "http://me:{}@127.0.0.1:5000",
    "s3://key:{}@bucket/prefix",
    "https://host/a.tar?token={}",
    "https://host/a.tar?X-Amz-Signature={}&X-Amz-Date=1",
    "https://host/a.tar?sig={}",
    "host=127.0.0.1 user=me password={} dbname=name",
    "MLFLOW_TRACKING_PASSWORD={}",
    "RAY_AUTH_TOKEN={}",
    "aws_secret_access_key={}",
)
LEFT_AS_THEY_ARE = (
    "sqlite:////a/me:b@c.db",
    "transreid",
    "postgresql+psycopg://me@host/name",
    "http://127.0.0.1:5000/a@b:c",
    "http://host:80/a?mail=me@host",
    "tokenizer=tags mask_token=3",
    "Use https://USER:PASSWORD@HOST/PATH, or ask the server's owner for access.",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_secret_of_an_address_is_hidden_and_the_rest_is_shown(address: str) -> None:
    assert redact(address.format(SECRET)) == address.format("***")


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_secret_within_a_message_is_hidden(address: str) -> None:
    message = f"error: --storage '{address.format(SECRET)}' is away (tried {address.format(SECRET)}, 2 times)"
    assert SECRET not in redact(message)
    assert redact(message).endswith("2 times)")


@pytest.mark.parametrize("text", LEFT_AS_THEY_ARE)
def test_what_has_no_secret_is_unchanged(text: str) -> None:
    assert redact(text) == text


def test_the_password_that_sqlalchemy_would_send_is_never_shown() -> None:
    draw = random.Random(0)
    symbols = string.ascii_letters + string.digits + "/?#:&=%+!$*(),;[]~^|{}"
    for _ in range(2000):
        password = draw.choice(string.ascii_letters) + "".join(draw.choices(symbols, k=draw.randint(3, 20)))
        url = f"postgresql+psycopg://me:{password}@example.org/name"
        sent = make_url(url).password
        assert sent
        assert redact(url) == "postgresql+psycopg://me:***@example.org/name", password


def test_a_password_with_an_unescaped_at_is_hidden_whole() -> None:
    assert redact("postgresql://me:p@ss@w0rd@host/name") == "postgresql://me:***@host/name"


def test_hiding_twice_changes_nothing() -> None:
    for address in (*ADDRESSES, *LEFT_AS_THEY_ARE):
        once = redact(address.format(SECRET))
        assert redact(once) == once


def test_neither_lines_nor_data_nor_errors_show_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    address = ADDRESSES[0].format(SECRET)
    say(address)
    print_data(address)
    print_json({"storage": address, "next": 1})
    out, screen = capsys.readouterr()
    assert SECRET not in out + screen
    assert json.loads(out.splitlines()[-1])["next"] == 1
    assert SECRET not in str(Error(f"{address} is wrong."))


def test_a_reason_that_is_cut_hides_the_secret_before_it_is_cut() -> None:
    """Cut first, the address would lose its host, and with it the sign that a password ends."""
    for length in range(100, 170):
        failure = ValueError("x" * length + " " + ADDRESSES[0].format(SECRET))
        assert SECRET[:4] not in reason_of(failure)


@pytest.mark.parametrize("part", ["x", "password", "a:", "://", "a://", "a://b@", "token="])
def test_a_text_of_a_megabyte_is_searched_within_seconds(part: str) -> None:
    with limited(10, "hiding secrets"):
        redact(part * (1_000_000 // len(part)))


def test_an_address_within_a_long_word_is_found() -> None:
    assert redact(f"{'y' * 50}http://me:secret@host/x") == f"{'y' * 50}http://me:***@host/x"
