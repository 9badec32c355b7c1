"""Work done ahead in threads, its results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")


def in_order(tasks: Iterable[Callable[[], Made]], workers: int) -> Generator[Made]:
    """What the tasks give, in their order; so many threads work on the next ones while one is used.

    When the consumer closes it, or a task raises, no further task is started and the threads end.
    """
    if workers == 0:
        yield from (task() for task in tasks)
        return
    pending: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for task in tasks:
            pending.append(pool.submit(task))
            if len(pending) > workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
