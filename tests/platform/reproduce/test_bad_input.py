"""A mistake on the command line is one line that names it and what to do, before anything is stored."""

from collections.abc import Callable
from pathlib import Path

import pytest

from platform.paper_tables.reproduction import Reproduction, resolve_reproduction
from platform.reproduce import main, parser
from platform.resolved_search import ResolvedSearch
from platform.resources import Machine
from platform.study import open_storage, open_study
from shards_tools.errors import Error
from tests.platform.reproduce.conftest import start


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., str]:
    """Runs the command and returns its one line; nothing may be left of it."""

    def run(*words: object) -> str:
        with pytest.raises(Error) as caught:
            main([*map(str, words), "--runs", str(tmp_path / "runs")])
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "runs").exists()
        return str(caught.value)

    return run


def test_a_table_must_be_named(refused: Callable[..., str]) -> None:
    assert refused().startswith("Name a table, or give --list.")


def test_data_must_be_named(refused: Callable[..., str]) -> None:
    assert refused("lsasrd-5").startswith("--data SHARDS is missing.")


def test_an_unknown_table_is_named_before_the_data_are_looked_for(refused: Callable[..., str]) -> None:
    assert "'lsasrd-6' is not a known table. Did you mean 'lsasrd-5'?" in refused("lsasrd-6", "--data", "nowhere")


def test_data_that_are_no_shards_are_named(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "nowhere is not a folder" in refused("lsasrd-5", "--data", tmp_path / "nowhere")


@pytest.mark.parametrize("words", ["--seeds 0", "--folds 0", "--epochs none", "--concurrency auto"])
def test_a_number_that_is_none_is_named(words: str, refused: Callable[..., str], shards: Path) -> None:
    assert f"'{words.split()[1]}' is not an integer >= 1" in refused("lsasrd-5", "--data", shards, *words.split())


def test_a_plain_tree_has_one_fold(refused: Callable[..., str], shards: Path) -> None:
    message = refused("lsasrd-5", "--data", shards, "--folds", 2)
    assert message.startswith(f"--folds 2: {shards} has 1 fold. Leave the option out, or")


def test_a_five_fold_tree_has_five(refused: Callable[..., str], five_folds: Path) -> None:
    message = refused("lsasrd-5", "--data", five_folds, "--folds", 6)
    assert message == f"--folds 6: {five_folds} has 5 folds. Give at most 5."


def test_data_without_the_metrics_of_the_table_are_refused(
    refused: Callable[..., str], shards: Path, classes: Path
) -> None:
    of_works = refused("dafre-1", "--data", shards)
    assert of_works.startswith(f"Table dafre-1 reports top1, top5, but {shards} holds works or identities")
    assert of_works.endswith("python -m shards_tools build dafre.")
    assert f"{classes} holds classes" in refused("lsasrd-4", "--data", classes)


def test_rows_that_need_tags_are_named(refused: Callable[..., str], classes: Path) -> None:
    message = refused("animesion", "--data", classes)
    assert message.startswith(f"{classes} has no tags, but these rows of animesion need them: ViLT L-16 (vision+tags).")
    assert "--rows" in message
    assert "shards_tools build dafull" in message


def test_rows_that_need_no_tags_are_taken_without_them(classes: Path, tmp_path: Path) -> None:
    words = ["animesion", "--data", str(classes), "--rows", "L-16", "--runs", str(tmp_path), "--scale", "tiny"]
    assert resolve_reproduction(parser().parse_args(words), Machine(2, 0)).rows == ("L-16",)


def test_a_file_in_the_place_of_the_output_folder_is_named(shards: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(Error, match=r"--out .*out cannot be written: File exists\. Give a folder"):
        main(["lsasrd-5", "--data", str(shards), "--runs", str(tmp_path), "--out", str(tmp_path / "out")])


def test_other_epochs_on_a_stored_study_are_refused(
    reproduction_of: Callable[..., Reproduction], shards: Path, tmp_path: Path
) -> None:
    start(reproduction_of("--epochs", 3))
    with pytest.raises(Error, match=r"--epochs is 4, but study lsasrd-5-.*-tiny was started with 3\."):
        start(reproduction_of("--epochs", 4))


def test_another_scale_or_data_under_the_name_of_a_stored_study_are_refused(
    reproduction_of: Callable[..., Reproduction], five_folds: Path
) -> None:
    start(reproduction_of("--study", "mine", "--epochs", 3))
    with pytest.raises(Error, match=r"--scale is paper, but study mine was started with tiny"):
        start(reproduction_of("--study", "mine", "--epochs", 3, "--scale", "paper"))
    with pytest.raises(Error, match=r"--data is \w+, but study mine was started with \w+"):
        start(reproduction_of("--study", "mine", "--epochs", 3, "--data", five_folds))


def test_another_table_under_the_name_of_a_stored_study_is_named_by_its_place(
    reproduction_of: Callable[..., Reproduction], shards: Path, tmp_path: Path
) -> None:
    start(reproduction_of("--study", "mine"))
    words = ["lsasrd-4", "--data", shards, "--runs", tmp_path / "runs", "--scale", "tiny", "--study", "mine"]
    with pytest.raises(Error, match=r"^TABLE is lsasrd-4, but study mine was started with lsasrd-5\."):
        start(resolve_reproduction(parser().parse_args(list(map(str, words))), Machine(2, 0)))


def test_a_study_of_a_search_is_not_continued_as_a_table(
    reproduction_of: Callable[..., Reproduction], search_of: Callable[..., ResolvedSearch]
) -> None:
    search = search_of("--study", "mine")
    open_study(search, open_storage(search.stores.storage))
    with pytest.raises(Error) as caught:
        start(reproduction_of("--study", "mine"))
    assert str(caught.value) == (
        "Study mine is a search of space small. Resume it with python -m platform.search, or start this one under"
        " another name with --study NAME."
    )


def test_a_study_of_a_table_is_not_continued_as_a_search(
    reproduction_of: Callable[..., Reproduction], search_of: Callable[..., ResolvedSearch]
) -> None:
    start(reproduction_of("--study", "mine"))
    search = search_of("--study", "mine")
    with pytest.raises(Error) as caught:
        open_study(search, open_storage(search.stores.storage))
    assert str(caught.value) == (
        "Study mine is table lsasrd-5. Resume it with python -m platform.reproduce, or start this one under another"
        " name with --study NAME."
    )


def test_a_table_whose_rows_have_changed_is_called_a_table(reproduction_of: Callable[..., Reproduction]) -> None:
    study = start(reproduction_of())
    stored = study.user_attrs["search"]
    rows = stored["distributions"]["row"].replace("DeiT-Small", "DeiT-Tiny")
    study.set_user_attr("search", {**stored, "distributions": {"row": rows}})
    with pytest.raises(Error, match=r"^Table lsasrd-5 has changed since study .*: row was .*DeiT-Tiny"):
        start(reproduction_of())
