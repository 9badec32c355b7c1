"""Warnings of other modules, collected so that the reports of a trial can pass them on to the driver."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class CollectedWarnings(logging.Handler):
    """Keeps the warnings of a package until they are taken; threads may add to them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.add(f"{record.getMessage()}.")

    def add(self, text: str) -> None:
        """Add a warning; an empty text is none."""
        if text:
            self._texts.append(text)

    def taken(self) -> list[str]:
        """Return the warnings since the last call."""
        texts, self._texts = self._texts, []
        return texts


@contextmanager
def collected_warnings(package: str) -> Iterator[CollectedWarnings]:
    """Collect the warnings of a package while the context is open."""
    log, collected = logging.getLogger(package), CollectedWarnings()
    log.addHandler(collected)
    try:
        yield collected
    finally:
        log.removeHandler(collected)
