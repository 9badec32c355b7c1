"""Optuna's database, patiently: one that goes away is waited for, and what it may have done already is not done twice.

A call that fails has either been done or not: a commit whose answer is lost cannot be told from one that never
arrived. Reading again and writing the same value again do no harm. The two that would, making a trial and changing
its state, look first. They can, because nobody else writes: see lock.py.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import ArgumentError, InterfaceError, InternalError, OperationalError, SQLAlchemyError

from platform.room import no_room
from shards_tools.command import say
from shards_tools.errors import Error

PATIENCE_S = 600.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
# A server that was switched off says nothing: this is when it counts as away.
SERVER_OPTIONS = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
TABLE_ATTEMPTS = 10
AWAY = (OperationalError, InterfaceError, InternalError)
# What a database says that no waiting mends, of the address it was given.
MISTAKES = ("does not exist", "authentication", "pg_hba.conf", "failed to resolve", "unable to open", "not a database")
Answer = TypeVar("Answer")


class DatabaseAway(Exception):
    """The database has not answered; what it was asked for may be done or not."""


def without_password(url: str) -> str:
    """The address with its password left out, for people and logs."""
    try:
        if sqlalchemy.engine.make_url(url).password:
            url = sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return url
    return re.sub(r"([?&]password=)[^&]*", r"\1***", url)  # libpq takes one there too


def open_database(url: str) -> RDBStorage:
    """Optuna's tables at `url`, made where they are missing.

    Several searches may start on an empty database at once: who is second finds a table that was not there before.
    A database that is away is waited for, as in any later call.
    """
    address = sqlalchemy.engine.make_url(url)
    options: dict[str, Any] = {}
    if address.get_backend_name() == "postgresql":
        if address.drivername not in ("postgresql", "postgresql+psycopg"):
            raise ValueError(f"{address.drivername} is another driver than psycopg")
        address = address.set(drivername="postgresql+psycopg")
        # By the name the lock finds the connections of this storage.
        connect = {**SERVER_OPTIONS, "application_name": f"sakuga {uuid.uuid4()}"}
        options = {"pool_pre_ping": True, "connect_args": connect}
    return patiently(lambda again: _opened(address, options), Wait(without_password(url)))


def _opened(address: sqlalchemy.URL, options: dict[str, Any]) -> RDBStorage:
    for left in reversed(range(TABLE_ATTEMPTS)):
        try:
            return RDBStorage(address.render_as_string(hide_password=False), engine_kwargs=options)
        except (SQLAlchemyError, StorageInternalError) as failure:
            if left and any(words in str(failure) for words in ("already exists", "duplicate key", "UNIQUE")):
                time.sleep(FIRST_PAUSE_S)
                continue
            if _is_away(failure):
                raise DatabaseAway(cause_of(failure)) from None
            raise
    raise AssertionError


def _is_away(failure: Exception) -> bool:
    """Whether a database that could not be opened may yet be, as it is."""
    known = failure.__cause__ if isinstance(failure, StorageInternalError) else failure
    return isinstance(known, AWAY) and not any(words in str(known) for words in MISTAKES)


def cause_of(failure: Exception) -> str:
    """The database's own words, in one line."""
    known = failure.__cause__ if isinstance(failure, StorageInternalError) else failure
    return str(getattr(known, "orig", None) or known).strip().splitlines()[0].rstrip(".")


class Wait:
    """A wait for a database that is away: what is said of it, and when it ends."""

    def __init__(self, url: str, interrupted: Callable[[], bool] = lambda: False) -> None:
        self._url, self._interrupted = url, interrupted
        self._pause_s, self._since = FIRST_PAUSE_S, 0.0  # 0: it has not begun

    def pause(self, cause: str) -> Error | None:
        """Let some time pass, longer each time; an Error, at once, where there is no more to be waited for."""
        now = time.monotonic()
        begins = not self._since
        self._since = self._since or now
        if "disk is full" in cause:  # what SQLite says of its file's
            return no_room(self._url, cause)
        if now - self._since >= PATIENCE_S or self._interrupted():
            return Error(
                f"{self._url} has not answered for {now - self._since:.0f} s ({cause}). Once it does, the same command "
                "goes on, and running trials at their last checkpoint."
            )
        if begins:
            say(f"{self._url} does not answer ({cause}). The search waits, up to {PATIENCE_S / 60:.3g} minutes.")
        while not self._interrupted() and time.monotonic() < now + self._pause_s:
            time.sleep(min(self._pause_s, 0.2))
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
        return None

    def is_over(self) -> None:
        """The database answers, again or as ever."""
        if self._since:
            away_s = time.monotonic() - self._since
            say(f"{self._url} answers again after {away_s:.0f} s; the search goes on.")


def patiently(call: Callable[[bool], Answer], wait: Wait) -> Answer:
    """The answer of `call`, which is told whether it is made again after a DatabaseAway."""
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
    """Hand trouble with the connection past Optuna, whose own repetition would make a trial twice.

    Listens to `handle_error` of an engine. A dead connection found before it is lent is replaced by SQLAlchemy.
    """
    if context.is_pre_ping or not isinstance(context.sqlalchemy_exception, AWAY):
        return
    raise DatabaseAway(str(context.original_exception).strip().splitlines()[0].rstrip("."))


def _patient(name: str) -> Callable[..., Any]:
    """The method of a storage that may be done twice without harm."""

    def method(self: PatientStorage, *arguments: Any, **options: Any) -> Any:
        return self._patiently(lambda again: getattr(self._storage, name)(*arguments, **options))

    return method


class PatientStorage(BaseStorage):
    """An Optuna storage whose calls are made again, for up to PATIENCE_S, while the database is away.

    After that, and after a full disk, each call is an Error: the search ends, and its running trials can be adopted.
    """

    def __init__(self, database: RDBStorage) -> None:
        self.url = without_password(database.url)
        self.engine = database.engine
        self.name = database.engine_kwargs.get("connect_args", {}).get("application_name", "")
        # An Error where another driver has the study. It is told whether a call is made again: what an earlier attempt
        # may still do at the server has to end before that is looked at.
        self.fence: Callable[[bool], None] = lambda again: None
        self.interrupted: Callable[[], bool] = lambda: False  # ends the waiting
        self._storage = optuna.storages.get_storage(database)
        self._ended: Error | None = None
        sqlalchemy.event.listen(database.engine, "handle_error", raise_away)

    # create_new_study too: where it says that there is one, Optuna opens that.
    create_new_study = _patient("create_new_study")
    delete_study = _patient("delete_study")
    set_study_user_attr = _patient("set_study_user_attr")
    set_study_system_attr = _patient("set_study_system_attr")
    get_study_id_from_name = _patient("get_study_id_from_name")
    get_study_name_from_id = _patient("get_study_name_from_id")
    get_study_directions = _patient("get_study_directions")
    get_study_user_attrs = _patient("get_study_user_attrs")
    get_study_system_attrs = _patient("get_study_system_attrs")
    get_all_studies = _patient("get_all_studies")
    set_trial_param = _patient("set_trial_param")
    set_trial_intermediate_value = _patient("set_trial_intermediate_value")
    set_trial_user_attr = _patient("set_trial_user_attr")
    set_trial_system_attr = _patient("set_trial_system_attr")
    get_trial = _patient("get_trial")
    get_all_trials = _patient("get_all_trials")

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial, or take the one that an attempt without an answer has made."""
        known = {trial._trial_id for trial in self.get_all_trials(study_id, deepcopy=False)}

        def make(again: bool) -> int:
            trials = self._storage.get_all_trials(study_id, deepcopy=False) if again else []
            made = [trial._trial_id for trial in trials if trial._trial_id not in known]
            return made[0] if made else self._storage.create_new_trial(study_id, template_trial)

        return self._patiently(make)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Change the state; True also where an attempt without an answer has changed it."""

        def change(again: bool) -> bool:
            if again and self._storage.get_trial(trial_id).state == state:
                return True
            return self._storage.set_trial_state_values(trial_id, state, values)

        return self._patiently(change)

    def _patiently(self, call: Callable[[bool], Answer]) -> Answer:
        """The answer of `call`, which is told whether it is made again."""

        def fenced(again: bool) -> Answer:
            if again:
                self.engine.dispose()
            self.fence(again)
            return call(again)

        if self._ended:
            raise self._ended
        try:
            return patiently(fenced, Wait(self.url, self.interrupted))
        except Error as end:
            self._ended = end
            raise
