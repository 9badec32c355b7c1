"""What all sections of the GPU window share: options, data, and the lines of the final table."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from shards_tools.manifest import Manifest
from shards_tools.manifest_file import read_manifest

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if ON_GPU else "cpu")

Found = dict[str, Any]  # the measurements of a section, ready for JSON
TAIL_CHARACTERS = 1500  # of a command's output
TINY_PATIENCE = 5.0  # timeouts are for an H200 machine; a CPU may be slow and busy


@dataclass(kw_only=True)
class Session:
    """One run of the window.

    Args:
        root: the checkout to measure.
        scratch: folder for drawn data; unlike `out`, it need not be copied off the machine.
        shards: shards of real pictures; None: use the drawn ones.
        tiny: run everything at a small size, also on a CPU.
        rates: measured FLOP/s of large matrix products, by precision; filled by the section `ceilings`.
        table: lines that are printed again at the end.
    """

    root: Path
    out: Path
    scratch: Path
    shards: Path | None
    tiny: bool
    rates: dict[str, float] = field(default_factory=dict)
    table: list[str] = field(default_factory=list)

    def note(self, line: str) -> None:
        """Add a line to the final table and print it now."""
        self.table.append(line)
        print(line, flush=True)

    def drawn_shards(self) -> Path:
        """Return shards of drawn faces in LSASRD's plain layout, 256 px (tiny: 64 px); built once."""
        folder = self.scratch / f"drawn-{'tiny' if self.tiny else 'full'}"
        tree, shards = folder / "tree", folder / "shards"
        if not (shards / "manifest.json").exists():
            shutil.rmtree(folder, ignore_errors=True)  # a killed run may have left a part
            size = 64 if self.tiny else 256
            self._must("-m", "shards_tools", "draw", "--out", tree, "--size", size)
            self._must("-m", "shards_tools", "build", "lsasrd", tree, "--out", shards)
        return shards

    def drawn(self) -> Manifest:
        """Return the manifest of the drawn shards."""
        return read_manifest(self.drawn_shards())

    def real(self) -> Manifest:
        """Return the manifest of the real shards, or of the drawn ones if there are none."""
        return read_manifest(self.shards or self.drawn_shards())

    def patience_s(self, timeout_s: float) -> float:
        """Return how long to wait for something that should take at most `timeout_s` in the window."""
        return timeout_s * (TINY_PATIENCE if self.tiny else 1.0)

    def command(self, *words: object, timeout_s: float = 120.0) -> Found:
        """Run Python with these arguments in the checkout; return its exit code, seconds and last output."""
        start = time.perf_counter()
        code: int | str = "timeout"
        try:
            done = subprocess.run(
                [sys.executable, *map(str, words)],
                cwd=self.root,
                env=self.environment(),
                timeout=self.patience_s(timeout_s),
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            code, text = done.returncode, done.stdout
        except subprocess.TimeoutExpired as late:
            text = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else ""
        return {"rc": code, "seconds": round(time.perf_counter() - start, 1), "tail": text[-TAIL_CHARACTERS:]}

    def environment(self) -> dict[str, str]:
        """Return the environment of a process that imports the checkout, installed or not."""
        path = os.pathsep.join(filter(None, [str(self.root), os.environ.get("PYTHONPATH", "")]))
        return {**os.environ, "PYTHONPATH": path}

    def _must(self, *words: object) -> None:
        done = self.command(*words, timeout_s=150)
        if done["rc"] != 0:
            raise RuntimeError(f"{' '.join(map(str, words))} failed: {done['tail']}")
