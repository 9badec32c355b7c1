"""A folder in a bucket: s3:// through s3fs, gs:// through gcsfs, imported when such an address is opened."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from shards_tools.errors import Error, Unreadable
from shards_tools.stores import retry
from shards_tools.stores.address import Address
from shards_tools.stores.retry import Stumble, persist
from shards_tools.stores.store import RemoteStore, check_name

# Exceptions of these libraries are failed reads; all others are bugs and keep their traceback.
LIBRARIES = {"aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs"}
CHECKS = ("request_checksum_calculation", "response_checksum_validation")
CREDENTIALS = {
    "s3": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_ENDPOINT_URL if the bucket is not Amazon's",
    "gs": "Set GOOGLE_APPLICATION_CREDENTIALS",
}


class BucketStore(RemoteStore):
    """Files below a prefix of a bucket. Keys and endpoint come from the environment, as for the bucket's own tools.

    The libraries run an event loop in a thread, which a fork does not copy: each process opens its own connection.
    """

    def exists(self) -> bool:
        """Return whether there is any file below the prefix."""
        return persist(str(self), lambda: bool(self._ask(str(self), "exists", self._prefix)))

    def names(self) -> list[str]:
        """List every file below the prefix, as a path relative to it; without such a bucket, an Error."""
        try:
            found = persist(str(self), lambda: self._ask(str(self), "find", self._prefix))
        except FileNotFoundError:
            raise self._no_bucket() from None
        return sorted(path.removeprefix(f"{self._prefix}/") for path in found)

    def fetch(self, name: str, file: Path) -> None:
        """Download a file of the bucket to `file`.

        Raises:
            Error: the bucket has no such file, or cannot be read.
        """
        place, path, size = self.place(name), f"{self._prefix}/{name}", self.size(name)
        if size is None:
            raise Unreadable(f"{place} is missing. Upload it again.")
        persist(place, lambda: self._ask(place, "get_file", path, seconds_for=size, lpath=str(file)))

    def send(self, file: Path, name: str) -> None:
        """Upload `file` to the bucket, replacing a file of that name; without such a bucket, an Error."""
        check_name(self, name)
        place, path, size = self.place(name), f"{self._prefix}/{name}", file.stat().st_size

        def send() -> None:
            self._ask(place, "put_file", str(file), seconds_for=size, done="written", rpath=path)

        try:
            persist(place, send, done="written")
        except FileNotFoundError:
            raise self._no_bucket() from None

    def remove(self, names: Iterable[str]) -> None:
        """Remove files by their paths relative to the prefix; files that do not exist are ignored."""
        for name in names:
            persist(f"{self}/{name}", partial(self._ask_removal, name), done="removed")

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
        place, path, end = self.place(name), f"{self._prefix}/{name}", start + size
        try:
            data: bytes = self._ask(place, "cat_file", path, seconds_for=size, start=start, end=end)
        except FileNotFoundError:
            raise Unreadable(f"{place} is missing. Upload it again.") from None
        if len(data) > size:
            raise Unreadable(f"{place}: the server sent {len(data):,} bytes instead of {size:,}. Use another server.")
        if len(data) < size:
            whole = self._ask_size(name)
            if whole is not None and whole < start + size:
                raise Unreadable(
                    f"{place} ends after {whole:,} bytes, but {start + size:,} were expected. Upload it again."
                )
            raise Stumble(f"only {len(data):,} of {size:,} bytes were received")
        return data

    def _no_bucket(self) -> Unreadable:
        scheme, bucket = self._address.scheme, self._address.host
        return Unreadable(
            f"The bucket {scheme}://{bucket} does not exist, or these keys have no access to it. Use another bucket."
        )

    def _ask_removal(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._ask(f"{self}/{name}", "rm_file", f"{self._prefix}/{name}", done="removed")

    def _ask(
        self,
        place: str,
        method: str,
        path: str,
        *,
        seconds_for: int = 0,
        done: str = "read",
        **arguments: Any,
    ) -> Any:
        """Call the library with a time limit. FileNotFoundError is raised as it is; others become Error or Stumble.

        Args:
            seconds_for: bytes to transfer, which determine the time limit.
            done: the participle in "cannot be read", for an Error.
        """
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
            )  # FSTimeoutError has no message
            if _is_forbidden(failure):
                way_out = f"{CREDENTIALS[self._address.scheme]}, or ask the bucket's owner for access."
                raise Unreadable(f"{place} cannot be {done}: {reason.rstrip('.'):.300}. {way_out}") from failure
            if _status(failure) in (400, 416):
                raise Unreadable(
                    f"{place} cannot be {done}: {reason.rstrip('.'):.300}. Check the address."
                ) from failure
            raise Stumble(reason.rstrip(".")[:300]) from failure


def _open_bucket(address: Address) -> Any:
    """Open the library's file system, without its caches and retries."""
    try:
        if address.scheme == "s3":
            import s3fs

            limits = {"connect_timeout": retry.CONNECT_TIMEOUT_S, "read_timeout": retry.READ_TIMEOUT_S}
            # Many servers other than Amazon's lack these checksums, or send the whole file's with a range.
            checks = dict.fromkeys(CHECKS, "when_required")
            system = s3fs.S3FileSystem(
                skip_instance_cache=True,
                use_listings_cache=False,
                config_kwargs=limits | checks | {"retries": {"max_attempts": 0}},
            )
            system.retries = 1
            return system
        from gcsfs.core import GCSFileSystem  # `gcsfs.GCSFileSystem` also opens gRPC channels

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
    """Return the HTTP status of a failure: gcsfs has it in `code`, botocore in the response of the cause."""
    response = getattr(failure.__cause__, "response", None) or getattr(failure, "response", None)
    if isinstance(response, dict):
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = str(getattr(failure, "code", ""))
    return int(code) if code.isdecimal() else None
