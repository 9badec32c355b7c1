"""The numbers about the code, on a tree that is small enough to count by hand."""

from pathlib import Path

from benchmarks.codebase import PACKAGES, numbers

CODE = '''
def search(config, plan, seed, out):
    """Search.

    Args:
        config: the options.
    """
    trial.set_user_attr("cost", plan)
    return "cost" in trial.user_attrs, trial.user_attrs.get("rung"), trial.user_attrs["cost"]


class Runner:
    def run(self, plan):
        """Run.

        Raises:
            Error: it cannot.
        """
        raise Error("no")

    def stop(self, config, why, when, how):
        def inner(plan):
            raise unknown("trial", plan, [])

    def _hidden(self, config, plan):
        raise Error("no")
'''


def test_a_small_tree_is_counted_as_by_hand(tmp_path: Path) -> None:
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    (tmp_path / "platform" / "runner.py").write_text(CODE)
    (tmp_path / "platform" / "trial_record.py").write_text("user_attrs = trial.user_attrs['cost']\n" * 41)
    (tmp_path / "pyproject.toml").write_text("[tool.importlinter]\ncontracts = [{}, {}]\n")
    num_lines = CODE.count("\n") + 41
    assert numbers(tmp_path) == {
        "lines of platform": str(num_lines),
        "lines of trainables": "0",
        "lines of shards_tools": "0",
        "lines of search_spaces": "0",
        "lines": str(num_lines),
        "modules": "6",
        "modules of at most 40 lines, __init__ aside": "1",
        "parameters called config": "3",
        "parameters called plan": "4",
        "uses of a key of user_attrs outside of trial_record.py": "4",
        "keys of user_attrs used outside of trial_record.py": "2",
        "contracts of import-linter": "2",
        "public functions": "3",
        "with 4 parameters or more: have Args:": "1 of 2",
        "that raise Error: have Raises:": "1 of 2",
        "public functions with Returns:": "0 of 3",
    }
