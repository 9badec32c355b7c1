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
    for left in reversed(range(TABLE_ATTEMPTS)):
        try:
            return RDBStorage(address.render_as_string(hide_password=False), engine_kwargs=options)
        except SQLAlchemyError as failure:
            if not left or not any(words in str(failure) for words in ("already exists", "duplicate key", "UNIQUE")):
                raise
            time.sleep(0.2)
    raise AssertionError


def raise_away(context: ExceptionContext) -> None:
    """Hand trouble with the connection past Optuna, whose own repetition would make a trial twice.

    Listens to `handle_error` of an engine. A dead connection found before it is lent is replaced by SQLAlchemy.
    """
    away = (OperationalError, InterfaceError, InternalError)
    if context.is_pre_ping or not isinstance(context.sqlalchemy_exception, away):
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
        pause_s, away_since = FIRST_PAUSE_S, None
        while True:
            if self._ended:
                raise self._ended
            try:
                self.fence(away_since is not None)
                answer = call(away_since is not None)
            except DatabaseAway as away:
                self.engine.dispose()
                first = away_since is None
                away_since = away_since or time.monotonic()
                self._ended = self._end(str(away), time.monotonic() - away_since)
                if first and not self._ended:
                    say(f"{self.url} does not answer ({away}). The search waits, up to {PATIENCE_S / 60:.3g} minutes.")
                self._sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            except Error as end:
                self._ended = end
            else:
                if away_since is not None:
                    say(f"{self.url} answers again after {time.monotonic() - away_since:.0f} s; the search goes on.")
                return answer

    def _end(self, cause: str, away_s: float) -> Error | None:
        """Why nothing more is to be tried; None where it is."""
        if "disk is full" in cause:  # what SQLite says of its file's
            return no_room(self.url, cause)
        if away_s < PATIENCE_S and not self.interrupted():
            return None
        return Error(
            f"{self.url} has not answered for {away_s:.0f} s ({cause}). Once it does, the same command goes on, and "
            "running trials at their last checkpoint."
        )

    def _sleep(self, pause_s: float) -> None:
        until = time.monotonic() + pause_s
        while not self._ended and not self.interrupted() and time.monotonic() < until:
            time.sleep(min(pause_s, 0.2))
