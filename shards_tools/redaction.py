"""Hide passwords and tokens in texts that are printed or stored: addresses, commands, and other libraries' messages."""

import re

HIDDEN = "***"

# The longest scheme is bounded, so that a long word takes no quadratic time.
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30})://([^\s'\"<>]+)")
# A user and its password, which may hold any character unescaped. `HOST:PORT/PATH@REST` has neither, and a message may
# say where to write the password.
USER_AND_PASSWORD = re.compile(r"([^:/?#]*):(?!\d{1,5}[/?#]|PASSWORD$)(.+)")
# A parameter of an address or of libpq, such as password=, sslpassword=, PASSWORD= or X-Amz-Signature=.
SECRET_NAMES = (
    r"[\w.-]*(?:password|passwd|secret|signature|credential)|pwd|sig|token"
    r"|[\w.-]*(?:auth|access|refresh|session|security|api|bearer|tracking|hf|github)[_-]?token|[\w.-]*(?:access|api|secret)[_-]?key(?:[_-]?id)?"
)
PARAMETER = re.compile(rf"(?i)(?<![\w.-])({SECRET_NAMES})=[^\s&;'\"]+")


def redact(text: str) -> str:
    """Return the text with `***` in place of every password and token.

    >>> redact("postgresql://me:p@ss@host/name?sslpassword=abc")
    'postgresql://me:***@host/name?sslpassword=***'
    """
    return PARAMETER.sub(rf"\1={HIDDEN}", ADDRESS.sub(_redacted_address, text))


def _redacted_address(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    before, sign, after = rest.rpartition("@")
    if not sign:
        return found[0]
    if user := USER_AND_PASSWORD.fullmatch(before):
        return f"{scheme}://{user[1]}:{HIDDEN}@{after}"
    if scheme.lower() in ("http", "https") and not re.search(r"[:/?#]", before):  # a token in place of a user
        return f"{scheme}://{HIDDEN}@{after}"
    return found[0]
