"""Optuna's database with retries: calls wait for a database that is unreachable, and are never executed twice.

A failed call may have been executed or not: if only the answer to a commit is lost, the client cannot know. Reading
again, or writing the same value again, is harmless. The two calls that are not, creating a trial and changing its
state, first check whether they were already executed. They can, because nobody else writes; see lock.py.
"""

from __future__ import annotations

import json
import textwrap
import time
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError, SQLAlchemyError

from platform.databases import (
    OPTUNA,
    READ_ONLY_SERVER_OPTIONS,
    SERVER_OPTIONS,
    parse_url,
    read_only_connection,
    recognize,
    server_address,
    sqlite_file,
    study_names,
)
from platform.failures import disk_is_full, refusal_of_disk
from platform.trial_cache import TrialCache
from platform.trial_rows import RowStorage
from shards_tools.command import say
from shards_tools.errors import MAX_REASON, Error
from shards_tools.redaction import redact

PATIENCE_S = 600.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
TABLE_ATTEMPTS = 10
AWAY = (OperationalError, InterfaceError, InternalError)
# Parts of a database's errors that waiting does not fix: the address is wrong.
MISTAKES = ("does not exist", "authentication", "pg_hba.conf", "failed to resolve", "unable to open", "not a database")
# Raised by Optuna and SQLAlchemy while they read rows that Optuna has not written itself.
DAMAGE = (ArithmeticError, AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
Answer = TypeVar("Answer")


class DatabaseAway(Exception):
    """The database did not answer; the call may have been executed or not."""


class NoStudies(Error):
    """A database that is only read has no studies."""


def open_database(url: str, option: str = OPTUNA.option, *, read_only: bool = False, waits: bool = True) -> RDBStorage:
    """Open Optuna's tables at `url`, and create them if they are missing.

    Several searches may start on an empty database at the same time, so creating a table that another search has just
    created is retried. An unreachable database is waited for, as in every later call.

    Args:
        url: the address of the database.
        option: took the address, for error messages.
        read_only: create and change nothing.
        waits: False: do not wait for an unreachable database.

    Raises:
        NoStudies: the database is only read, and has no tables yet.
        Error: the database is another program's or has another version.
        DatabaseAway: it is not waited for, and unreachable.
        ValueError: the URL names another driver than psycopg.
    """
    make = partial(_opened, *_address_and_options(url, read_only=read_only), option=option, read_only=read_only)
    return patiently(lambda again: make(), Wait(redact(url))) if waits else make()


def _address_and_options(url: str, *, read_only: bool) -> tuple[str, dict[str, Any]]:
    """Return the address that SQLAlchemy connects to, and the options of its engine."""
    if parse_url(url).get_backend_name() == "sqlite":
        file = sqlite_file(url)
        return url, {"creator": partial(read_only_connection, file)} if file and read_only else {}
    name = f"sakuga {uuid.uuid4()}"  # by which the lock finds the connections of this storage
    connect = READ_ONLY_SERVER_OPTIONS if read_only else {**SERVER_OPTIONS, "application_name": name}
    return server_address(url), {"pool_pre_ping": True, "connect_args": connect}


def _opened(address: str, engine_options: dict[str, Any], *, option: str, read_only: bool) -> RDBStorage:
    for left in reversed(range(TABLE_ATTEMPTS)):
        try:
            if not recognize(address, OPTUNA, option) and read_only:
                raise NoStudies(f"{address} has no study yet. Run a search first, or name another with {option}.")
            return RowStorage(address, engine_options, skip_table_creation=read_only)
        except (SQLAlchemyError, StorageInternalError) as failure:
            if left and any(words in str(failure) for words in ("already exists", "duplicate key", "UNIQUE")):
                time.sleep(FIRST_PAUSE_S)
                continue
            if _is_away(failure):
                raise DatabaseAway(cause_of(failure)) from None
            raise
    raise AssertionError


def _is_away(failure: Exception) -> bool:
    """Whether opening a database may succeed later, with the same address."""
    known = failure.__cause__ if isinstance(failure, StorageInternalError) else failure
    return isinstance(known, AWAY) and not any(words in str(known) for words in MISTAKES)


def cause_of(failure: Exception) -> str:
    """Return the first line of the database's own error message, without a period at its end."""
    known = failure.__cause__ if isinstance(failure, StorageInternalError) else failure
    return redact(str(getattr(known, "orig", None) or known)).strip().splitlines()[0].rstrip(".")


class Wait:
    """Waits for an unreachable database: how long, and with which messages."""

    def __init__(self, url: str, interrupted: Callable[[], bool] = lambda: False) -> None:
        self._url, self._interrupted = url, interrupted
        self._pause_s, self._since = FIRST_PAUSE_S, 0.0  # 0: not waiting yet

    def pause(self, cause: str) -> Error | None:
        """Sleep, longer each time, and return None; return an Error at once if waiting is over or useless."""
        now = time.monotonic()
        begins = not self._since
        self._since = self._since or now
        if "disk is full" in cause:  # from SQLite
            return disk_is_full(self._url, cause)
        if (file := sqlite_file(self._url)) and (refusal := refusal_of_disk(file.parent)):
            return refusal
        if now - self._since >= PATIENCE_S or self._interrupted():
            return Error(
                f"{self._url} has not answered for {now - self._since:.0f} s ({cause}). Run the same command again once"
                " it does; running trials resume from their last checkpoint."
            )
        if begins:
            say(f"{self._url} does not answer ({cause}). Waiting up to {PATIENCE_S / 60:.3g} minutes.")
        while not self._interrupted() and time.monotonic() < now + self._pause_s:
            time.sleep(min(self._pause_s, 0.2))
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return None

    def is_over(self) -> None:
        """Report that the database answers again, if it was unreachable."""
        if self._since:
            away_s = time.monotonic() - self._since
            say(f"{self._url} answers again after {away_s:.0f} s. The search continues.")


def patiently(call: Callable[[bool], Answer], wait: Wait) -> Answer:
    """Return `call(again)`, and retry it after a DatabaseAway; `again` is False on the first call only.

    Raises:
        Error: the wait is over.
    """
    again = False
    while True:
        try:
            answer = call(again)
        except DatabaseAway as away:
            again = True
            end = wait.pause(str(away))
            if end:
                raise end from None
        else:
            wait.is_over()
            return answer


def raise_away(context: ExceptionContext) -> None:
    """Raise connection errors as DatabaseAway, because Optuna's own retry could create a trial twice.

    This is a listener for an engine's `handle_error`. SQLAlchemy itself replaces a dead connection that it finds before
    use.

    Raises:
        DatabaseAway: the connection failed.
    """
    if context.is_pre_ping or not isinstance(context.sqlalchemy_exception, AWAY):
        return
    raise DatabaseAway(str(context.original_exception).strip().splitlines()[0].rstrip("."))


def _patient(name: str) -> Callable[..., Any]:
    """Return a storage method that is simply retried, because executing it twice is harmless."""

    def method(self: PatientStorage, *arguments: Any, **options: Any) -> Any:
        return self._patiently(lambda again: getattr(self._storage, name)(*arguments, **options))

    return method


def _patient_read(name: str) -> Callable[..., Any]:
    """Return a storage method that reads: what Optuna raises for rows that it has not written itself is an Error."""

    def method(self: PatientStorage, *arguments: Any, **options: Any) -> Any:
        try:
            return self._patiently(lambda again: getattr(self._storage, name)(*arguments, **options))
        except (Error, KeyError):  # the second is the answer that there is no such study or trial
            raise
        except DAMAGE as failure:
            raise self._damaged(failure) from failure

    return method


class PatientStorage(BaseStorage):
    """An Optuna storage that retries its calls for up to PATIENCE_S while the database is unreachable.

    After that, or after a full disk, every call raises an Error: the search ends, and its running trials can resume.
    """

    def __init__(self, database: RDBStorage) -> None:
        self.url = redact(database.url)
        self.engine = database.engine
        self.name = database.engine_kwargs.get("connect_args", {}).get("application_name", "")
        # Called before every call; raises an Error if another driver runs the study. Its argument says whether the call
        # is a retry: then statements of the earlier attempt must end at the server first.
        self.fence: Callable[[bool], None] = lambda again: None
        self.interrupted: Callable[[], bool] = lambda: False  # ends the waiting
        self._storage = TrialCache(database)
        self.looking_once = self._storage.looking_once  # retries look again
        self._ended: Error | None = None
        sqlalchemy.event.listen(database.engine, "handle_error", raise_away)

    # This includes create_new_study: if the study exists already, Optuna opens it.
    create_new_study = _patient("create_new_study")
    delete_study = _patient_read("delete_study")  # Optuna reads the rows that it deletes
    set_study_user_attr = _patient("set_study_user_attr")
    set_study_system_attr = _patient("set_study_system_attr")
    get_study_id_from_name = _patient_read("get_study_id_from_name")
    get_study_name_from_id = _patient_read("get_study_name_from_id")
    get_study_directions = _patient_read("get_study_directions")
    get_study_user_attrs = _patient_read("get_study_user_attrs")
    get_study_system_attrs = _patient_read("get_study_system_attrs")
    get_all_studies = _patient_read("get_all_studies")
    set_trial_param = _patient("set_trial_param")
    set_trial_intermediate_value = _patient("set_trial_intermediate_value")
    set_trial_user_attr = _patient("set_trial_user_attr")
    set_trial_system_attr = _patient("set_trial_system_attr")
    get_trial = _patient_read("get_trial")
    get_all_trials = _patient_read("get_all_trials")

    def study_names(self) -> list[str]:
        """Return the names of all studies, also of damaged ones."""
        return self._patiently(lambda again: study_names(self.engine))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial, or return a trial that an attempt without an answer has created."""
        num_known = len(self.get_all_trials(study_id, deepcopy=False))

        def make(again: bool) -> int:
            # In the order of their numbers, so that new ones are the last.
            made = self._storage.get_all_trials(study_id, deepcopy=False)[num_known:] if again else []
            return made[0]._trial_id if made else self._storage.create_new_trial(study_id, template_trial)

        return self._patiently(make)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Change the state, and return True also if an attempt without an answer has changed it."""

        def change(again: bool) -> bool:
            if again and self._storage.get_trial(trial_id).state == state:
                return True
            return bool(self._storage.set_trial_state_values(trial_id, state, values))

        return self._patiently(change)

    def _patiently(self, call: Callable[[bool], Answer]) -> Answer:
        """Return `call(again)` with retries, behind the fence; after the first Error, raise it again."""

        def fenced(again: bool) -> Answer:
            if again:
                self.engine.dispose()
                self._storage.look_again()
            self.fence(again)
            return call(again)

        if self._ended:
            raise self._ended
        try:
            return patiently(fenced, Wait(self.url, self.interrupted))
        except Error as end:
            self._ended = end
            raise
        except (StorageInternalError, json.JSONDecodeError) as failure:
            self._ended = self._damaged(failure)
            raise self._ended from failure

    def _damaged(self, failure: Exception) -> Error:
        cause = textwrap.shorten(cause_of(failure), MAX_REASON)
        return Error(f"Optuna's database {self.url} cannot be used: {cause}. If it is damaged, restore it from a copy.")
