"""The package named platform: the standard module for everyone, and our submodules beside it, from a checkout."""

import ast
import importlib
import os
import pickle  # noqa: TID251 - read back is only what this test wrote
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import platform

ROOT = Path(__file__).parents[2]
# A process that never heard of us: no path, no hooks, no user site.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def output_of(*command: str | Path, cwd: Path = ROOT) -> str:
    """What the command prints; its failure shows both streams."""
    ran = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=CLEAN, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def standard(code: str) -> str:
    """Return what `code` prints without this project: isolated, outside the repository, without site hooks."""
    return output_of(sys.executable, "-I", "-S", "-c", code, cwd=Path("/")).strip()


def test_the_search_starts_from_the_root_of_a_checkout() -> None:
    assert "--space" in output_of(sys.executable, "-m", "platform.search", "--help")


def test_running_the_standard_module_prints_what_it_always_did() -> None:
    expected = output_of(sys.executable, "-I", "-S", "-m", "platform", cwd=Path("/"))
    assert output_of(sys.executable, "-m", "platform") == expected
    assert output_of(sys.executable, "-m", "platform", "terse", "nonaliased")


def test_it_is_the_standard_module_with_our_folder_as_its_path() -> None:
    assert Path(platform.__file__).parent == Path(os.__file__).parent
    assert list(platform.__path__) == [str(ROOT / "platform")]
    ours = {name.partition(".")[2] for name in sys.modules if name.startswith("platform.")}
    names = set(dir(platform)) - ours - {"__path__", "__builtins__"}
    assert " ".join(sorted(names)) == standard(
        "import platform; print(*sorted(set(dir(platform)) - {'__path__', '__builtins__'}))"
    )


def test_no_module_of_ours_hides_a_name_of_the_standard_one() -> None:
    ours = {file.stem for file in (ROOT / "platform").iterdir()} - {"__init__", "__main__"}
    assert not ours & set(standard("import platform; print(*dir(platform))").split())


def test_from_a_checkout_its_names_are_the_standard_ones() -> None:
    code = "import platform; print(platform.__file__, *sorted(set(dir(platform)) - {'__path__', '__builtins__'}))"
    assert output_of(sys.executable, "-S", "-c", code).strip() == standard(code)


def test_what_it_pickles_the_standard_module_reads() -> None:
    code = "import pickle, platform, sys; print(pickle.loads(bytes.fromhex(sys.argv[1])) == platform.uname())"
    there = output_of(sys.executable, "-I", "-S", "-c", code, pickle.dumps(platform.uname()).hex(), cwd=Path("/"))
    assert there.strip() == "True"
    back = standard("import pickle, platform; print(pickle.dumps(platform.uname()).hex())")
    assert pickle.loads(bytes.fromhex(back)) == platform.uname()


def test_a_reload_keeps_the_module_and_its_path() -> None:
    path = list(platform.__path__)
    assert importlib.reload(platform) is platform
    assert list(platform.__path__) == path


def test_its_functions_can_be_mocked() -> None:
    with mock.patch("platform.system", return_value="a test"):
        assert platform.system() == "a test"
    assert platform.system() != "a test"


@pytest.mark.parametrize("start", [["-m", "pytest"], [str(Path(sys.executable).with_name("pytest"))]])
def test_pytest_finds_the_search_however_it_is_started(tmp_path: Path, start: list[str]) -> None:
    if not start[0].startswith("-") and not Path(start[0]).exists():
        pytest.skip("no pytest script beside this interpreter")
    checkout = tmp_path / "checkout"
    for file in ("platform/__init__.py", "_platform_path.py", "conftest.py", "pyproject.toml"):
        (checkout / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, checkout / file)
    (checkout / "platform/search.py").write_text("def main(): ...\n")
    (checkout / "tests").mkdir()
    (checkout / "tests/test_it.py").write_text("from platform.search import main\n\ndef test_it(): main()\n")
    assert "1 passed" in output_of(sys.executable, *start, "-p", "no:cacheprovider", cwd=checkout)


def test_a_module_that_is_already_imported_gets_its_path() -> None:
    code = (
        "import sys; sys.path.pop(0); import platform; assert not hasattr(platform, '__path__'); "
        f"sys.path.insert(0, {str(ROOT)!r}); import _platform_path; print(*platform.__path__)"
    )
    assert output_of(sys.executable, "-S", "-c", code).strip() == str(ROOT / "platform")


def test_without_our_folder_the_hook_leaves_the_standard_module_alone(tmp_path: Path) -> None:
    (tmp_path / "_platform_path.py").write_text((ROOT / "_platform_path.py").read_text())
    code = "import _platform_path, platform; print(hasattr(platform, '__path__'), platform.python_version())"
    expected = f"False {platform.python_version()}"
    assert output_of(sys.executable, "-S", "-c", code, cwd=tmp_path).strip() == expected


def test_the_package_itself_defines_nothing() -> None:
    docstring, function, call = ast.parse((ROOT / "platform/__init__.py").read_text()).body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(docstring.value, ast.Constant)
    assert isinstance(function, ast.FunctionDef)
    assert ast.unparse(call) == "_become_standard(globals(), __spec__)"
