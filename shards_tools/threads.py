"""Run tasks ahead of time in threads and yield their results in order."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Made = TypeVar("Made")


def in_order(tasks: Iterable[Callable[[], Made]], workers: int) -> Generator[Made]:
    """Yield the results of the tasks in order, while `workers` threads run the next tasks.

    When the consumer closes the generator, or a task raises, no further task starts and the threads end.
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
