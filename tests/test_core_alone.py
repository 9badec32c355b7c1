"""The core lives without the search: no Ray, no Optuna, no MLflow on the machine."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

HIDDEN = "import sys\nfor name in ('ray', 'optuna', 'mlflow'):\n    sys.modules[name] = None\n"


def core_modules() -> list[str]:
    """Return the modules of the core but commands (`__main__`), which run when imported, and ray_trial (needs Ray)."""
    files = [file for package in ("shards_tools", "trainables") for file in sorted((ROOT / package).rglob("*.py"))]
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files]
    return [name for name in names if not name.endswith(".__main__") and name != "trainables.ray_trial"]


def run_alone(code: str) -> None:
    """Run `code` in a process in which the search's libraries cannot be imported."""
    ran = subprocess.run([sys.executable, "-c", HIDDEN + code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_every_module_of_the_core_can_be_imported() -> None:
    assert len(core_modules()) > 10
    run_alone("\n".join(f"import {name}" for name in core_modules()))


def test_the_core_trains_evaluates_and_writes_its_checkpoint(shards: Path, tmp_path: Path) -> None:
    words = ["--recipe", "transreid-tiny", "--data", str(shards), "--out", str(tmp_path / "out"), "--epochs", "1"]
    words += ["--set", "backbone=vit_64x3", "stride_px=8", "works_per_batch=4", "images_per_epoch=64"]
    run_alone(f"from trainables.train import main\nmain({words!r})")
    assert (tmp_path / "out" / "last" / "weights.safetensors").exists()
