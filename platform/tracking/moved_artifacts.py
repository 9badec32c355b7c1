"""Let MLflow's artifacts follow a folder of --runs that was moved or copied together with its database.

MLflow stores the absolute address of every artifact folder and has no call that changes it. Its files would go to the
old place, which a copy shares with the original.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

OF_EXPERIMENT = "experiment_id = :experiment"
OF_RUNS = "run_id IN (SELECT run_uuid FROM runs WHERE experiment_id = :experiment)"
ADDRESSES = (  # table, column, and which of its rows belong to an experiment
    ("runs", "artifact_uri", OF_EXPERIMENT),
    ("logged_models", "artifact_location", OF_EXPERIMENT),
    ("model_versions", "source", OF_RUNS),
    ("model_versions", "storage_location", OF_RUNS),
    ("experiments", "artifact_location", OF_EXPERIMENT),
)


def follow_move(database: Path, study: str, artifacts: Path) -> None:
    """Replace the addresses of a study's artifacts, unless they are below `artifacts` already.

    A database that cannot be changed stays as it is: the tracker reports what is wrong with it.
    """
    if not database.is_file():
        return
    engine = sqlalchemy.create_engine(f"sqlite:///{database}")
    try:
        with engine.begin() as connection:
            find = text("SELECT experiment_id, artifact_location FROM experiments WHERE name = :study")
            found = connection.execute(find, {"study": study}).first()
            if found is None or found[1] == artifacts.as_uri() or not str(found[1]).startswith("file:"):
                return
            for table, column, rows in ADDRESSES:
                change = text(
                    f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1)"
                    f" WHERE {rows} AND substr({column}, 1, length(:old)) = :old"
                )
                values = {"experiment": found[0], "old": found[1], "new": artifacts.as_uri()}
                connection.execute(change, values)
    except SQLAlchemyError:
        pass
    finally:
        engine.dispose()
