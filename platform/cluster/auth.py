"""The token of a Ray cluster: required here, sent by Ray, and never printed or passed on."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ray._raylet import Config  # type: ignore[attr-defined]  # it is compiled

from shards_tools.errors import Error

WITHOUT_TOKENS = (
    "runs without tokens: anybody who reaches it can run code there. Start its nodes with RAY_AUTH_MODE=token and one"
    " token, or set RAY_AUTH_MODE=disabled here to use it anyway."
)
TOKEN_PLACES = "RAY_AUTH_TOKEN_PATH, RAY_AUTH_TOKEN or ~/.ray/auth_token"


def demand_tokens(cluster: str, has_them: bool) -> None:
    """Make Ray send this user's token from now on.

    Args:
        cluster: the cluster's name for errors.
        has_them: whether the cluster requires tokens.

    Raises:
        Error: this user has no token, or the cluster requires none and RAY_AUTH_MODE is not "disabled".
    """
    if not has_them:
        if os.environ.get("RAY_AUTH_MODE") == "disabled":
            return
        raise Error(f"{cluster} {WITHOUT_TOKENS}")
    if own_token() is None:
        raise Error(f"{cluster} needs a token, and there is none in {TOKEN_PLACES}. Copy it from the head.")
    close_token()
    os.environ["RAY_AUTH_MODE"] = "token"
    Config.initialize("")  # Ray read the mode when it was imported


def own_token() -> str | None:
    """Return this user's token from the places where Ray looks for it, or None."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return os.environ["RAY_AUTH_TOKEN"]
    with suppress(OSError):
        path = os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token"
        return Path(path).read_text().strip() or None
    return None


def close_token() -> None:
    """Let only this user read the token in the home folder; Ray creates it with the modes of the umask.

    Another file, named by RAY_AUTH_TOKEN_PATH, is left as it is.
    """
    with suppress(OSError, RuntimeError):  # it does not exist, belongs to another user, or there is no home folder
        token = Path.home() / ".ray" / "auth_token"
        if not token.is_symlink():
            token.chmod(0o600)
