"""An address has one of five known forms, or it is rejected in one line before anything uses it."""

import re
from pathlib import Path

import pytest

from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.stores import open_store
from shards_tools.stores.address import Address, parse_address


def refused(text: str) -> str:
    with pytest.raises(Error) as mistake:
        open_store(text)
    assert "\n" not in str(mistake.value)
    assert "Use a folder, file:///PATH, https://HOST/PATH" in str(mistake.value)
    return str(mistake.value)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("shards", Path.cwd() / "shards"),
        ("/data/my shards & more", Path("/data/my shards & more")),
        ("./a:b", Path.cwd() / "a:b"),
        ("file:///data/a%20b", Path("/data/a b")),
        ("file://localhost/data", Path("/data")),
    ],
)
def test_a_path_is_a_local_folder(text: str, path: Path) -> None:
    assert open_store(text).folder == path
    assert open_store(text).is_local


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://host.example/a/b/", Address("https", "host.example", "/a/b")),
        ("HTTPS://Host:8443", Address("https", "host:8443", "")),
        ("https://me:p%40ss@host/a", Address("https", "host", "/a", "me", "p@ss")),
        ("http://localhost:80/a", Address("http", "localhost:80", "/a")),
        ("http://127.0.0.1:9000/a%20b", Address("http", "127.0.0.1:9000", "/a%20b")),
        ("http://[::1]:8000/x", Address("http", "[::1]:8000", "/x")),
        ("http://10.1.2.3/x", Address("http", "10.1.2.3", "/x")),
        ("s3://bucket", Address("s3", "bucket", "")),
        ("s3://my.bucket-1/a/b=c/", Address("s3", "my.bucket-1", "/a/b=c")),
        ("gs://bucket_2/prefix", Address("gs", "bucket_2", "/prefix")),
    ],
)
def test_a_remote_address_is_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "pipe:cat /etc/passwd",
        "pipe:curl -s https://host/a.tar",
        "PIPE:id",
        "ftp://host/a",
        "hf://datasets/a/b",
        "gopen:x",
        "data:text/plain,x",
        "file:relative",
        "file://host/share",
        "file:///a|b",
        "file:///a%00b",
        "https:/host/a",
        "https:host",
        "s3:bucket",
        "/data/${HOME}/x",
        "/data/$(id)",
        "/data/`id`",
        "cat /etc/passwd |",
        "a\nb",
        "/a\x00b",
        "https://host/${X}",
        "https://host/a;id",
        "https://host/a b",
        "https://host/a'b",
        "https://host/a{1..3}",
        "https://host/a?token=1",
        "https://host/a#b",
        "https://host/../a",
        "https://host/a/%2e%2E/b",
        "https://host/a%2fb",
        "https://host/a%0d%0ab",
        "https://host//a",
        "https://",
        "https:///a",
        "https://-o/a",
        "https://host:0/a",
        "https://host:99999/a",
        "https://[::g]/a",
        "https://hôst/a",
        "s3://",
        "s3://-bucket/a",
        "s3://key:secret@bucket/a",
        "s3://bucket/a*",
        "s3://bucket/a%20b",
        "s3://bucket/../a",
        "gs://bucket/a?generation=1",
    ],
)
def test_every_other_text_is_refused(text: str) -> None:
    assert repr(text)[1:-1] in refused(text) or "***" in refused(text)


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "169.254.43518",
        "169.254.169.254.",
        "[::ffff:169.254.169.254]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "metadata.google.internal",
        "good.org\\@169.254.169.254",
        "good.org\\.evil.org",
        "0.0.0.0",
        "[::]",
    ],
)
def test_a_host_that_serves_credentials_or_is_written_as_a_trick_is_refused(host: str) -> None:
    """Every numeric form of 169.254.169.254 is one that the system's resolver accepts."""
    complaint = r"metadata service|no valid host|backslash"
    assert re.search(complaint, refused(f"https://{host}/a"))


def test_ordinary_hosts_with_digits_are_addresses() -> None:
    for host in ("8.8.8.8", "7zip.org", "123.example.org", "[2001:db8::1]"):
        assert isinstance(parse_address(f"https://{host}/a"), Address)


@pytest.mark.parametrize(
    "host",
    [
        "example.org",
        "8.8.8.8",
        "169.254.169.254",
        "0.0.0.0",
        "127.1",
        "2130706433",
        "0x7f000001",
        "[::]",
        "[fe80::1]",
        "[::ffff:8.8.8.8]",
        "localhost.example.org",
        "172.32.0.1",
    ],
)
def test_plain_http_is_for_this_machine_and_private_networks(host: str) -> None:
    assert "is plain http, which is only for this machine and private networks" in refused(f"http://{host}/a")


@pytest.mark.parametrize("text", ["http://me:geheim@127.0.0.1/a", "ftp://me:geheim@host/a", "s3://me:geheim@bucket/a"])
def test_a_password_is_not_printed_where_the_address_is_refused(text: str) -> None:
    assert "geheim" not in refused(text)


def test_a_password_is_not_printed_by_the_store() -> None:
    store = open_store("https://me:geheim@host/a")
    assert str(store) == "https://host/a"
    assert store.place("b.tar") == "https://host/a/b.tar"
    assert "geheim" not in repr(store) + repr(parse_address("https://me:geheim@host/a"))


def test_a_refused_address_runs_nothing(tmp_path: Path) -> None:
    with pytest.raises(Error, match="is not an address of shards"):
        read_manifest(f"pipe:touch {tmp_path}/made")
    assert list(tmp_path.iterdir()) == []
