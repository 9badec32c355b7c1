"""Files of a search have the modes that the user's umask asks for, and none is closed to a group that may read it."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from platform.cluster.auth import close_token
from tests.platform.driver import run_search

COPIED = "code"  # the program's own files in a registered model keep the modes that they have in its installation


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(folder: Path) -> dict[Path, int]:
    """The permissions of everything in a folder, and of the folder itself."""
    found = [folder, *folder.rglob("*")]
    return {
        path: stat.S_IMODE(path.stat().st_mode)
        for path in found
        if COPIED not in path.parts and path.name != "served_model.py"
    }


@pytest.mark.slow
@pytest.mark.parametrize("mask", [0o077, 0o002], ids=oct)
def test_runs_and_cache_follow_the_umask(
    mask: int, small_space: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAKUGA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with umask(mask):
        run_search("--space", small_space, "--data", shards, "--runs", tmp_path / "runs", "--trials", 1)
    assert stat.S_IMODE((tmp_path / ".ray" / "auth_token").stat().st_mode) == 0o600
    found = {**modes(tmp_path / "runs"), **modes(tmp_path / "cache")}
    assert len(found) > 20
    for path, mode in found.items():
        assert not mode & mask, f"{path} has {oct(mode)}"
        if mask == 0o002:  # SQLite opens its files to the group for reading only
            assert mode & stat.S_IRGRP, f"{path} has {oct(mode)}"
            assert path.is_file() or mode & stat.S_IXGRP, f"{path} has {oct(mode)}"


def test_a_token_in_the_home_folder_is_closed_to_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    close_token()  # there is none yet
    token, elsewhere = tmp_path / ".ray" / "auth_token", tmp_path / "shared"
    token.parent.mkdir()
    for file in (token, elsewhere):
        file.write_text("0123")
        file.chmod(0o644)
    close_token()
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    token.unlink()
    token.symlink_to(elsewhere)
    close_token()
    assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644
