"""Parse addresses of shards; any other text is rejected before a library sees it."""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from shards_tools.errors import Error
from shards_tools.redaction import redact

BUCKET_SCHEMES = ("s3", "gs")
KNOWN = "Use a folder, file:///PATH, https://HOST/PATH, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX."

SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
# Characters that a shell or webdataset would interpret; a folder with such a name can still be given as a Path.
ACTIVE = re.compile(r"[\x00-\x1f\x7f|`]|\$[({]")
REMOTE = re.compile(r"(?:([^/?#@]*)@)?([^/?#@]+)(/[^?#@]*)?")
HOST = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
BUCKET = re.compile(r"[A-Za-z0-9][\w.-]{1,220}", re.ASCII)
PART = re.compile(r"[\w.~%+=,:!-]+", re.ASCII)

PRIVATE = [
    ipaddress.ip_network(text)
    for text in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7")
]
# Clouds serve the machine's credentials here.
METADATA_NAMES = ("metadata", "metadata.google.internal", "instance-data")
METADATA = [ipaddress.ip_address(text) for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")]
NUMBERS = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*\.?", re.IGNORECASE)  # read as an IPv4 address


@dataclass(frozen=True)
class Address:
    """A remote folder. `str()` and `repr()` never show the user and the password."""

    scheme: str  # https, http, s3 or gs
    host: str  # with the port if one is given; for s3 and gs: the bucket
    path: str  # "/a/b", or "" for the root
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}{self.path}"


def parse_address(text: str) -> Address | Path:
    """Parse a text to a remote folder or a local path; anything else is an Error."""
    scheme = SCHEME.match(text)
    if not text.strip() or ACTIVE.search(text):
        raise _refused(text, "is not an address of shards.")
    if scheme is None:
        return Path(text)
    kind, rest = scheme[1].lower(), text[scheme.end() :]
    if kind == "file" and re.match(r"//(localhost)?/", rest):
        path = unquote(rest[2:].removeprefix("localhost"))
        if ACTIVE.search(path):
            raise _refused(text, "is not an address of shards.")
        return Path(path)
    if kind not in ("https", "http", *BUCKET_SCHEMES) or not rest.startswith("//"):
        raise _refused(
            text, f"is not an address of shards: {kind}: is not supported. For a folder with a colon, write ./{kind}:…."
        )
    if "\\" in rest:
        raise _refused(text, "has a backslash, which some programs read as a slash.")
    found = REMOTE.fullmatch(rest[2:])
    if found is None:
        raise _refused(text, "is not an address of shards: it has a query, a fragment or an extra @.")
    path = _checked_path(text, found[3] or "", raw=kind in BUCKET_SCHEMES)
    if kind in BUCKET_SCHEMES:
        if found[1] is not None or not BUCKET.fullmatch(found[2]):
            raise _refused(text, "has no valid bucket. Set credentials in the environment.")
        return Address(kind, found[2], path)
    return _web_address(text, kind, found, path)


def is_private(host: str) -> bool:
    """Return whether the host (without port) is this machine or a literal address of a private network."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return any(address in network for network in PRIVATE)


def _web_address(text: str, scheme: str, found: re.Match[str], path: str) -> Address:
    credentials, host = found[1], HOST.fullmatch(found[2])
    if host is None or (host[2] and not 0 < int(host[2]) < 65536):
        raise _refused(text, "has no valid host.")
    if scheme == "http" and not is_private(host[1].lower()):
        raise _refused(text, "is plain http, which is only for this machine and private networks. Use https://.")
    _refuse_odd_host(text, host[1].lower())
    if credentials is not None and scheme == "http":
        raise _refused(text, "would send its password unencrypted. Use https://.")
    user, _, password = (credentials or "").partition(":")
    return Address(scheme, found[2].lower(), path, unquote(user), unquote(password))


def _refuse_odd_host(text: str, host: str) -> None:
    """Refuse hosts that are another machine than they look, and those that give credentials to any program."""
    if host in METADATA_NAMES:
        raise _refused(text, "is a cloud's metadata service.")
    if not (host.startswith("[") or NUMBERS.fullmatch(host)):
        return
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        raise _refused(text, "has no valid host.") from None
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_link_local or address in METADATA:
        raise _refused(text, "is a link-local address, where clouds have their metadata service.")
    if address.is_unspecified or address.is_multicast:
        raise _refused(text, "has no valid host.")


def _checked_path(text: str, path: str, *, raw: bool) -> str:
    path = path.removesuffix("/")
    for part in path.split("/")[1:]:
        meant = part if raw else unquote(part)
        if (
            not PART.fullmatch(part)
            or (raw and "%" in part)
            or set(meant) <= {"."}
            or re.search(r"[/\\\x00-\x1f]", meant)
        ):
            raise _refused(text, f"has {part!r} in its path. Use only letters, digits and _.~+=,:!- there.")
    return path


def _refused(text: str, complaint: str) -> Error:
    return Error(f"{redact(text)[:200]!r} {complaint} {KNOWN}")
