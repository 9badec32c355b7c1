"""A folder in a bucket: s3:// through s3fs, gs:// through gcsfs, which are imported when such an address is opened."""

from collections.abc import Callable
from typing import Any

from shards_tools.errors import Error
from shards_tools.stores import retry
from shards_tools.stores.address import Address
from shards_tools.stores.remote import RemoteStore
from shards_tools.stores.retry import Stumble, persist

# Whose exceptions are failures of a read; all others are bugs and keep their traceback.
LIBRARIES = {"aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs"}
CREDENTIALS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL where it is not Amazon's",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS",
}


class BucketStore(RemoteStore):
    """Files below a prefix of a bucket. Keys and endpoint come from the environment, as the bucket's own tools read it.

    The libraries run an event loop in a thread of their own, which a fork does not copy: each process opens its own.
    """

    def exists(self) -> bool:
        """Whether anything lies below the prefix."""
        return persist(str(self), lambda: bool(self._ask(str(self), "exists", self._prefix)))

    @property
    def _prefix(self) -> str:
        return self._address.host + self._address.path

    def _connect(self) -> Any:
        return _open_bucket(self._address)

    def _ask_size(self, name: str) -> int | None:
        try:
            found = self._ask(self.place(name), "info", f"{self._prefix}/{name}")
        except FileNotFoundError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def _ask_range(self, name: str, start: int, size: int) -> bytes:
        place, limits = self.place(name), {"start": start, "end": start + size}
        try:
            data: bytes = self._ask(place, "cat_file", f"{self._prefix}/{name}", seconds_for=size, **limits)
        except FileNotFoundError:
            raise Error(f"{place} is missing.") from None
        if len(data) > size:
            raise Error(f"{place}: the server sends {len(data):,} bytes where {size:,} were asked for.")
        if len(data) < size:
            whole = self._ask_size(name)
            if whole is not None and whole < start + size:
                raise Error(f"{place} ends after {whole:,} bytes, {start + size:,} were expected.")
            raise Stumble(f"only {len(data):,} of {size:,} bytes came")
        return data

    def _ask(self, place: str, method: str, path: str, *, seconds_for: int = 0, **arguments: Any) -> Any:
        """One call of the library, within a time limit. FileNotFoundError passes; others are an Error or a Stumble."""
        call: Callable[..., Any] = getattr(self._connection, method)
        try:
            return call(path, timeout=retry.seconds_for(seconds_for), **arguments)
        except FileNotFoundError:
            raise
        except Exception as failure:
            if not (isinstance(failure, OSError) or type(failure).__module__.partition(".")[0] in LIBRARIES):
                raise
            reason = (
                " ".join(str(failure).split()) or "the server did not answer in time"
            )  # FSTimeoutError says nothing
            if _is_forbidden(failure):
                way_out = f"{CREDENTIALS[self._address.scheme]}, or ask who keeps it to let you in."
                raise Error(f"{place} may not be read: {reason.rstrip('.'):.300}. {way_out}") from failure
            if _status(failure) in (400, 416):
                raise Error(f"{place} cannot be read: {reason.rstrip('.'):.300}.") from failure
            raise Stumble(reason.rstrip(".")[:300]) from failure


def _open_bucket(address: Address) -> Any:
    """The library's file system, without its caches and its own retries."""
    try:
        if address.scheme == "s3":
            import s3fs

            limits = {"connect_timeout": retry.CONNECT_TIMEOUT_S, "read_timeout": retry.READ_TIMEOUT_S}
            system = s3fs.S3FileSystem(
                skip_instance_cache=True,
                use_listings_cache=False,
                config_kwargs=limits | {"retries": {"max_attempts": 0}},
            )
            system.retries = 1
            return system
        from gcsfs.core import GCSFileSystem  # the one of gcsfs itself also opens gRPC channels

        return GCSFileSystem(skip_instance_cache=True, use_listings_cache=False)
    except ImportError as failure:
        raise Error(
            f"{address} needs {failure.name}, which is not installed. Install it: pip install 'sakuga[stores]'."
        ) from None


def _is_forbidden(failure: Exception) -> bool:
    return (
        isinstance(failure, PermissionError)
        or _status(failure) in (401, 403)
        or "Credentials" in type(failure).__name__
        or str(failure).startswith("Forbidden")  # how gcsfs raises 403
    )


def _status(failure: Exception) -> int | None:
    """The HTTP status behind a failure: gcsfs gives it as `code`, botocore in the response of the cause."""
    response = getattr(failure.__cause__, "response", None) or getattr(failure, "response", None)
    if isinstance(response, dict):
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(getattr(failure, "code", ""))
    return int(code) if code.isdecimal() else None
