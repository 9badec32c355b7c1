"""A real search in a terminal of its own, ended by Ctrl-C as people press it."""

import os
from pathlib import Path

import pytest

from tests.platform.driver import command, wait_until
from tests.terminal_session import session


@pytest.mark.slow
def test_ctrl_c_leaves_the_terminal_in_order(small_space: Path, shards: Path, tmp_path: Path) -> None:
    words = command("--space", small_space, "--data", shards, "--runs", tmp_path / "runs", "--trials", 6)
    with session(words) as search:
        wait_until(lambda: b"time left unknown" in search.written, 240, "the display")
        wait_until(lambda: b"about" in search.written, 240, "an epoch")
        os.write(search.keyboard, b"\x03")
        assert search.wait() == 130
    assert b"Stopping after the current epochs" in search.written
    terminal = search.shown()
    assert terminal.cursor_is_shown
    assert not terminal.cursor_was_hidden
    assert search.written.rfind(b"\x1b[?25h") > search.written.rfind(b"silent")
    lines = terminal.text.splitlines()
    assert lines[-1] == "interrupted"
    assert any(line.startswith("trial ") and "left running after epoch" in line for line in lines)
    assert [line for line in lines if "silent" in line or line.startswith("━")] == []
