"""A manifest of many images opens in little memory: far less than its file has bytes."""

from pathlib import Path

import pytest

from benchmarks.large_data import LIMITS, _open, in_own_process, write


@pytest.mark.integration
def test_opening_a_manifest_of_a_million_images_takes_a_third_of_its_bytes_at_most(tmp_path: Path) -> None:
    in_own_process(write, tmp_path, 1_000_000)
    file_mb = (tmp_path / "manifest.npz").stat().st_size / 2**20
    _, memory_mb = in_own_process(_open, tmp_path)
    assert memory_mb < file_mb / 3
    assert memory_mb < LIMITS["memory_mb"] / 2
