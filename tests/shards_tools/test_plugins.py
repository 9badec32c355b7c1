"""A user's own code: files and modules given with `--import`, installed plugins, and sources that they register."""

import hashlib
import importlib.metadata
import re
from pathlib import Path

import pytest
from PIL import Image

from shards_tools import Source, SourceImage, plugins, register_source
from shards_tools.__main__ import main
from shards_tools.errors import Error
from shards_tools.manifest_file import read_manifest
from shards_tools.plugins import changed_plugins, load_plugins, plugin_hashes
from shards_tools.registry import Registry
from shards_tools.sources import SOURCES
from shards_tools.sources.checks import check_source

FLAT = """
from pathlib import Path
from shards_tools import Source, SourceImage, register_source
from shards_tools.splits import TEST, TRAIN

def scan(folder: Path) -> Source:
    files = sorted(folder.iterdir())
    images = [
        SourceImage(path=file, key=file.stem, work=file.stem[0], role=file.stem[0], split_code=code)
        for work in "ab" for code, last in ((TRAIN, "0123"), (TEST, "45"))
        for file in files if file.stem[0] == work and file.stem[-1] in last
    ]
    return Source("flat", "classes", ("a", "b"), tuple(images), cut=())

register_source("flat", scan)
"""


@pytest.fixture(autouse=True)
def _forget(monkeypatch):
    """Forget what a test imports and registers."""
    monkeypatch.setattr(plugins, "_hashes", {})
    entries, added = dict(SOURCES), set(SOURCES.added)
    yield
    SOURCES.clear()
    SOURCES.update(entries)
    SOURCES.added = added


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    file = folder / name
    file.write_text(text)
    return file


def test_a_source_from_a_file_builds_shards(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(12):
        Image.new("RGB", (8, 8), (20 * number, 0, 9)).save(pictures / f"{'ab'[number // 6]}{number % 6}.png")
    file = write(tmp_path, FLAT)
    main(["build", "flat", str(pictures), "--out", str(tmp_path / "shards"), "--import", str(file)])
    manifest = read_manifest(str(tmp_path / "shards"))
    assert (manifest.source, manifest.layout, manifest.works) == ("flat", "classes", ("a", "b"))
    assert len(manifest.split().test) == 4


def test_without_import_the_message_names_it(tmp_path):
    with pytest.raises(Error, match=r"'flat' is not a known source\..* add --import FILE\.py"):
        main(["build", "flat", str(tmp_path), "--out", str(tmp_path / "shards")])


def test_a_file_is_run_once_however_often_it_is_named(tmp_path, monkeypatch):
    file = write(tmp_path, f"with open({str(tmp_path / 'runs')!r}, 'a') as log:\n    log.write('x')\n")
    monkeypatch.chdir(tmp_path)
    load_plugins(["mine.py", str(file)])
    load_plugins([str(file)])
    assert (tmp_path / "runs").read_text() == "x"
    assert plugin_hashes() == {str(file): hashlib.sha256(file.read_bytes()).hexdigest()}


def test_a_module_is_imported_by_its_name_and_a_package_hashed_with_all_its_files(tmp_path, monkeypatch):
    package = tmp_path / "own_package_of_a_test"
    package.mkdir()
    write(package, "", "__init__.py")
    part = write(package, "x = 1\n", "part.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    load_plugins(["own_package_of_a_test"])
    before = plugin_hashes()
    part.write_text("x = 2\n")
    plugins._hashes.clear()
    load_plugins(["own_package_of_a_test"])
    assert before.keys() == plugin_hashes().keys() == {"own_package_of_a_test"}
    assert before != plugin_hashes()


def test_an_installed_plugin_is_loaded_without_an_option(tmp_path, monkeypatch):
    info = tmp_path / "own_plugin-1.0.dist-info"
    info.mkdir()
    write(info, "Metadata-Version: 2.1\nName: own-plugin\nVersion: 1.0\n", "METADATA")
    write(info, "[sakuga.plugins]\nown = own_plugin_of_a_test\n", "entry_points.txt")
    write(tmp_path, FLAT, "own_plugin_of_a_test.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [point.name for point in importlib.metadata.entry_points(group="sakuga.plugins")] == ["own"]
    load_plugins()
    assert "flat" in SOURCES
    assert set(plugin_hashes()) == {"own_plugin_of_a_test"}


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("x = 1\nprint(nothing)\n", 2, "NameError: name 'nothing' is not defined"),
        ("x = (\n", 1, "SyntaxError"),
        ("import no_such_module_anywhere\n", 1, "ModuleNotFoundError: No module named 'no_such_module_anywhere'"),
        ("from shards_tools import register_source\n\nregister_source('folder', print)\n", 3, "already registered"),
    ],
)
def test_an_import_that_fails_is_one_line_with_file_line_and_reason(tmp_path, text, line, reason):
    file = write(tmp_path, text)
    with pytest.raises(Error, match=rf"--import {file} failed in line {line}: .*{re.escape(reason)}") as caught:
        load_plugins([str(file)])
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert plugin_hashes() == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [("nowhere.py", "there is no such file"), ("no_such_module_anywhere", "there is no module of that name")],
)
def test_a_file_or_module_that_is_not_there_is_named(name, message):
    with pytest.raises(Error, match=rf"--import {name}: {message}"):
        load_plugins([name])


def test_code_has_changed_where_its_name_is_the_same_and_its_hash_is_not(monkeypatch):
    monkeypatch.setattr(plugins, "_hashes", {"/new/mine.py": "aa", "package": "bb"})
    assert changed_plugins({"/old/mine.py": "aa", "/old/renamed.py": "bb", "/old/not_loaded.py": "cc"}) == []
    assert changed_plugins({"/old/mine.py": "zz", "package": "zz"}) == ["/old/mine.py", "package"]


def test_a_name_is_taken_once_and_the_same_entry_may_come_again():
    registry: Registry = Registry("thing", {"one": 1})
    registry.register("two", 2)
    registry.register("two", 2)
    with pytest.raises(Error, match=r"A different thing is already registered as 'two'. Choose another name"):
        registry.register("two", 3)
    with pytest.raises(Error, match="'a b' is not a valid name for a thing"):
        registry.register("a b", 3)
    assert registry.added == {"two"}


def test_a_function_from_a_file_that_is_run_twice_is_the_same_and_one_with_other_settings_is_not(tmp_path):
    text = "def scan(folder):\n    return folder\n\ndef other(n):\n    return lambda folder: n\n"
    spaces: list[dict] = [{}, {}]
    for space in spaces:
        exec(compile(text, str(tmp_path / "mine.py"), "exec"), space)
    register_source("twice", spaces[0]["scan"])
    register_source("twice", spaces[1]["scan"])
    register_source("closed", spaces[0]["other"](1))
    with pytest.raises(Error, match="already registered"):
        register_source("closed", spaces[0]["other"](2))


def image(name: str, **values) -> SourceImage:
    fields = {"path": Path(f"{name}.png"), "key": name, "work": "w", "role": "w/1", "split_code": 0, **values}
    return SourceImage(**fields)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (None, "its function returned NoneType. Let it return shards_tools.Source"),
        (Source("s", "heap", ("w",), (image("a"),)), "'heap' is not a known layout"),
        (Source("s", "plain", ("w",), ()), "source own has no images"),
        (Source("s", "plain", ("w",), (image("a"), image("a"))), "two images have key='a'"),
        (Source("s", "plain", ("w",), (image("a.b"),)), r"a\.b\.png has key='a\.b': use ASCII without dots"),
        (Source("s", "plain", ("v",), (image("a"),)), "work='w', which is not in `works`"),
        (Source("s", "plain", ("v", "w"), (image("a"),)), "work 'v' has no image"),
        (Source("s", "plain", ("w",), (image("a", split_code=9),)), "split_code=9, which is not in 0..6"),
        (Source("s", "plain", ("w",), (image("a", role="1"),)), "role='1': in layout plain write it as WORK/ROLE"),
        (Source("s", "five-fold", ("w",), (image("a"),)), "fold=-1, which is not in 0..4"),
        (
            Source("s", "plain", ("w",), (image("a"), image("b", role="w/2"), image("c"))),
            "the images of role 'w/1' are not adjacent",
        ),
    ],
)
def test_a_mistake_of_an_own_source_is_named(source, message):
    with pytest.raises(Error, match=message):
        check_source("own", source)


def test_a_recorded_file_is_found_again_by_its_code_and_then_by_its_name(monkeypatch):
    monkeypatch.setattr(plugins, "_hashes", {"/now/mine.py": "new", "/now/renamed.py": "same"})
    recorded = {"/then/other.py": "same", "/then/mine.py": "old", "module": "any"}
    assert plugins.loaded_plugins(recorded) == ["/now/renamed.py", "/now/mine.py", "module"]


def test_a_message_calls_a_file_that_was_copied_to_a_cluster_what_the_user_called_it():
    assert plugins.shown_name("/tmp/ray/_ray_pkg_0123/user_files/mine.py") == "mine.py"
    assert plugins.shown_name("/home/me/mine.py") == "/home/me/mine.py"
