"""The data that a study stores beyond Optuna's own fields. No other module knows the keys of `user_attrs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar, overload

from platform.run_paths import located, stored_path

Value = TypeVar("Value")
Owner = TypeVar("Owner", bound="Record")

TEST_METRICS = "test "  # followed by the number of the trial


class HasAttributes(Protocol):
    """A study, a running trial or a stored trial of Optuna."""

    @property
    def user_attrs(self) -> dict[str, Any]:
        """Return all entries."""

    def set_user_attr(self, key: str, value: Any) -> None:
        """Store one entry."""


class Stored(Generic[Value]):
    """One entry of `user_attrs`, read and assigned as an attribute of a record.

    Args:
        default: the value while nothing is stored.
        key: the key in the database, if it is not the attribute's name.
    """

    def __init__(self, default: Value, key: str = "") -> None:
        self.default, self.key = default, key

    def __set_name__(self, owner: type[Record], name: str) -> None:
        self.key = self.key or name

    @overload
    def __get__(self, record: None, owner: type[Record]) -> Stored[Value]: ...

    @overload
    def __get__(self, record: Record, owner: type[Record]) -> Value: ...

    def __get__(self, record: Record | None, owner: type[Record]) -> Stored[Value] | Value:
        if record is None:
            return self
        value: Value = record.of.user_attrs.get(self.key, self.default)
        return value

    def __set__(self, record: Record, value: Value) -> None:
        record.of.set_user_attr(self.key, value)


class StoredPath(Stored[str]):
    """A path, or the address of a folder in a bucket; a path under --runs is stored relative to it."""

    def __init__(self) -> None:
        super().__init__("")

    @overload
    def __get__(self, record: None, owner: type[Record]) -> StoredPath: ...

    @overload
    def __get__(self, record: Record, owner: type[Record]) -> str: ...

    def __get__(self, record: Record | None, owner: type[Record]) -> StoredPath | str:
        return self if record is None else located(super().__get__(record, owner))

    def __set__(self, record: Record, value: str) -> None:
        super().__set__(record, stored_path(value))


class Record:
    """A typed view of `user_attrs`: reading an attribute reads the study, assigning one writes it."""

    def __init__(self, of: HasAttributes) -> None:
        self.of = of

    @classmethod
    def attributes(cls, **values: object) -> dict[str, Any]:
        """Return the `user_attrs` of a new trial that has these fields."""
        return {getattr(cls, name).key: value for name, value in values.items()}


class TrialRecord(Record):
    """The data that the study stores about one trial. An empty text means that the field does not apply."""

    # Where the trial's parameters come from, if no sampler suggested them.
    baseline = Stored("")  # the label of the baseline
    paper_row: Stored[Sequence[str]] = Stored(())  # the paper's table and row, if the baseline is the recipe of one
    warm_start = Stored("")  # STUDY/NUMBER of the earlier trial
    label = Stored("")  # the name of a training that was fixed in advance

    # A training that was fixed in advance; see fixed_trials.py.
    trained: Stored[int | str] = Stored("", key="of")  # a trial's number, or the row of a paper's table
    training = Stored[Mapping[str, int]]({})  # its "fold" and "seed", instead of the search's
    left_out = Stored(False)  # canceled before it started

    settings = Stored[Mapping[str, Any]]({})  # "recipe", and all settings it trains with; empty before it starts

    candidate = Stored(-1, key="trial")  # for a cross-validated candidate: the number of the search's trial

    # How far the trial has come.
    attempts = Stored(0)  # started so far
    deaths = Stored[Mapping[str, Any]]({"epoch": None, "count": 0})  # deaths of its process in the epoch after "epoch"
    checkpoint = StoredPath()  # the last one
    former_checkpoint = StoredPath()  # the one before, in case the last one is damaged
    epoch = Stored[int | None](None)  # the last epoch reported, with several objectives; see objectives.py
    metrics = Stored[Mapping[str, float]]({})  # of the last epoch
    reading = Stored("")  # how its images are read

    # Why the trial ended, or did not.
    pruned_at = Stored[int | None](None)  # the epoch, or the fold of a candidate
    spared_at = Stored[int | None](None)  # the epoch at which a baseline would have been pruned
    over_limit = Stored("")  # the limit of --at-most that it exceeds
    reason = Stored("")  # of pruning or failure, in words

    @property
    def is_paper_row(self) -> bool:
        """Whether the trial is a paper's row, by its recipe or its label."""
        return bool(self.paper_row) or self.baseline.startswith("paper")

    @property
    def total_seconds(self) -> float:
        """The seconds of all its epochs."""
        return self.metrics.get("total_seconds", 0.0)


class StudyRecord(Record):
    """What the database stores about a study, or about a part of one such as its cross-validation."""

    kind = Stored("Space")  # what its trials are points of: "Space", or "Table" for the rows of a paper's table
    search = Stored[Mapping[str, Any]]({})  # the options that every start must share; empty for a part
    study_id = Stored("")  # tells it from another study of the same name, such as one that was deleted
    starts = Stored(0)
    last_start = Stored[Mapping[str, Any]]({})
    bucket_folder = Stored("")  # in the bucket of --checkpoints
    plugins = Stored[Mapping[str, str]]({})  # the user's own code -> its SHA-256
    warm_start = Stored[Mapping[str, dict[str, Any]]]({})  # STUDY/NUMBER -> parameters to start with

    folds = Stored(1)  # the number of folds that the best trials were trained on
    test_fold = Stored[int | None](None)  # the fold that is kept for the finalists
    best_by_mean = Stored[int | None](None)  # the number of the trial with the best mean over the folds
    elected = Stored[Mapping[str, Any]]({})  # the finalists, and the options they were chosen with
    recipes = Stored[Mapping[str, dict[str, Any]]]({})  # row of a reproduced table -> its recipe

    @property
    def is_search(self) -> bool:
        """Whether this is a search, not a part of one or somebody else's study."""
        return StudyRecord.search.key in self.of.user_attrs

    @property
    def test_metrics(self) -> dict[int, dict[str, float]]:
        """Trial number -> the metrics of its checkpoint on the test split, as fractions."""
        return {
            int(key.removeprefix(TEST_METRICS)): value
            for key, value in self.of.user_attrs.items()
            if key.startswith(TEST_METRICS)
        }

    def store_test_metrics(self, number: int, metrics: Mapping[str, float]) -> None:
        """Store the metrics of trial `number` on the test split."""
        self.of.set_user_attr(f"{TEST_METRICS}{number}", dict(metrics))
