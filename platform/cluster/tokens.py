"""The token of a Ray cluster: it is demanded, sent by Ray, and neither printed nor passed on by us."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ray._raylet import Config  # type: ignore[attr-defined]  # it is compiled

from shards_tools.errors import Error

WITHOUT_TOKENS = (
    "runs without tokens: whoever reaches it can run anything there. Start its nodes with RAY_AUTH_MODE=token and one"
    " token, or set RAY_AUTH_MODE=disabled here to use it all the same."
)
TOKEN_PLACES = "RAY_AUTH_TOKEN_PATH, RAY_AUTH_TOKEN or ~/.ray/auth_token"


def demand_tokens(cluster: str, has_them: bool) -> None:
    """Let Ray send our token from here on; Error where the cluster asks for none and nobody said that it need not."""
    if not has_them:
        if os.environ.get("RAY_AUTH_MODE") == "disabled":
            return
        raise Error(f"{cluster} {WITHOUT_TOKENS}")
    if own_token() is None:
        raise Error(f"{cluster} asks for its token, and there is none in {TOKEN_PLACES}. Copy it from the head.")
    os.environ["RAY_AUTH_MODE"] = "token"
    Config.initialize("")  # Ray read the mode when it was imported


def own_token() -> str | None:
    """The token of this user, from where Ray looks for it."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return os.environ["RAY_AUTH_TOKEN"]
    with suppress(OSError):
        path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
        return Path(path).read_text().strip() or None
    return None
