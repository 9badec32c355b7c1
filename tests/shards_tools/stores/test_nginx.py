"""Shards on nginx, end to end from the command to the bytes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.reader import read_image
from shards_tools.stores import open_store
from shards_tools.verify import LEVELS, verify
from tests.shards_tools.stores.conftest import Serve

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("level", LEVELS)
def test_shards_are_whole_at_every_level(nginx: Serve, shards: Path, level: str) -> None:
    local, remote = read_manifest(shards), verify(nginx(shards.parent) + "/shards", level)
    assert remote.fingerprint == local.fingerprint
    assert not remote.store.is_local
    assert read_image(remote, 7) == read_image(local, 7)


@pytest.mark.parametrize("command", [["show"], ["verify", "--level", "full"]], ids=["show", "verify"])
def test_the_commands_take_the_address(nginx: Serve, shards: Path, command: list[str]) -> None:
    address = nginx(shards.parent) + "/shards"
    words = [sys.executable, "-m", "shards_tools", *command, address, "--json"]
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    assert (found["shards"], found["num_images"]) == (address, 160)


def test_what_is_not_there_is_said_so(nginx: Serve, shards: Path, tmp_path: Path) -> None:
    address = nginx(shards.parent)
    with pytest.raises(Error, match=r"nowhere has no manifest\.json"):
        read_manifest(f"{address}/nowhere")
    assert open_store(f"{address}/shards").size("nothing.tar") is None


def test_a_missing_or_shortened_shard_is_found_by_quick(nginx: Serve, shards: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in shards.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    shard = next(copy.glob("*.tar"))
    address = nginx(copy)
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(Error, match="is damaged: it holds"):
        verify(address, "quick")
    shard.unlink()
    with pytest.raises(Error, match=rf"{address}/{shard.name} is missing"):
        verify(address, "quick")


def test_an_error_page_or_nothing_in_a_shards_place_is_found_by_quick(
    nginx: Serve, shards: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("manifest.json", "manifest.npz"):
        (copy / name).write_bytes((shards / name).read_bytes())
    (copy / "page.html").write_text("<html>Please log in.</html>")
    pages = nginx(copy, "location ~ tar$ { rewrite .* /page.html; }")
    with pytest.raises(Error, match="is damaged: it holds 27 bytes"):
        verify(pages, "quick")
    empty = nginx(copy, "location ~ tar$ { return 200; }")
    with pytest.raises(Error, match=r"is damaged: it holds 0 bytes|has no Content-Length"):
        verify(empty, "quick")
    login = nginx(copy, "location ~ json$ { rewrite .* /page.html; }")
    with pytest.raises(Error, match="is damaged: it is not JSON"):
        verify(login, "quick")


def test_a_server_without_ranges_is_refused_when_a_part_is_asked_for(nginx: Serve, shards: Path) -> None:
    address = nginx(shards, "max_ranges 0;")
    manifest = read_manifest(address)  # whole files
    with pytest.raises(Error, match="the server ignores range requests"):
        read_image(manifest, 3)


def test_a_compressing_server_sends_plain_bytes(nginx: Serve, shards: Path) -> None:
    verify(nginx(shards, "gzip on; gzip_types *; gzip_min_length 1;"), "full")


def test_a_password_lets_in_and_is_shown_nowhere(
    nginx: Serve, shards: Path, tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users").write_text("me:{PLAIN}ge heim@1\n")
    settings = f"auth_basic shards; auth_basic_user_file {tmp_path}/users;"
    address = nginx(shards, settings, tls=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    manifest = verify(address.replace("//", "//me:ge%20heim%401@"), "full")
    assert str(manifest.store) == address
    for wrong in (address, address.replace("//", "//me:falsch@")):
        with pytest.raises(Error, match="cannot be read: the server says 401") as mistake:
            read_manifest(wrong)
        assert "falsch" not in str(mistake.value)


def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(nginx: Serve, shards: Path) -> None:
    with pytest.raises(Error, match=r"CERTIFICATE_VERIFY_FAILED.*Check the certificate"):
        read_manifest(nginx(shards, tls=True))


def test_no_redirect_to_another_server_is_followed_and_its_log_is_empty(
    nginx: Serve, shards: Path, tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    for elsewhere in (nginx(shards), nginx(shards, tls=True)):
        log = tmp_path / f"nginx-{elsewhere.rpartition(':')[2]}" / "requests"
        asked = log.read_text()
        redirecting = nginx(shards, f"return 302 {elsewhere}$request_uri;", tls=True)
        with pytest.raises(Error, match=rf"redirects to {elsewhere}, which is not followed"):
            read_manifest(redirecting.replace("//", "//me:geheim@"))
        assert log.read_text() == asked
