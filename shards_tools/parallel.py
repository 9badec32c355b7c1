"""Run jobs in several processes, or tasks ahead of time in threads.

The pools of `concurrent.futures` do not fit the jobs: their processes outlive a killed parent and wait for it forever,
run the parent's main file again, and cannot inherit its lock. Our processes exit with their parent, even during a job.
They exchange jobs and results as lines of JSON.
"""

import contextlib
import importlib
import json
import os
import selectors
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import SimpleQueue
from typing import Any, TypeVar

from shards_tools.errors import Error

START = "import sys; sys.path[:] = sys.argv[2:]; from shards_tools.parallel import serve; serve(sys.argv[1])"

Item = TypeVar("Item")
Made = TypeVar("Made")


class Killed(Error):
    """A worker process was killed by a signal."""


def num_cpus() -> int:
    """Return the number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def in_order(tasks: Iterable[Callable[[], Made]], workers: int) -> Generator[Made]:
    """Yield the results of the tasks in order, while `workers` threads run the next tasks.

    When the consumer closes the generator, or a task raises, no further task starts and the threads end.

    Args:
        workers: number of threads; 0 runs each task when its result is requested.
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


class ThreadTeam:
    """Threads that apply a function to the items of a sequence; the thread that calls `map` is one of them.

    Each thread takes the next item when it is done with one, so a slow item delays no other. `ThreadPoolExecutor.map`
    creates a future per item, which costs the calling thread more time than a small image needs in the others.
    """

    def __init__(self, num_threads: int) -> None:
        self._helpers = num_threads - 1
        self._pool = ThreadPoolExecutor(self._helpers) if self._helpers else None

    def map(self, function: Callable[[Item], Made], items: Sequence[Item]) -> list[Made]:
        """Return the results of all items, in order. An exception of one is raised, and no further item starts."""
        if self._pool is None:
            return [function(item) for item in items]
        made: dict[int, Made] = {}
        numbers = iter(range(len(items)))

        def work() -> None:
            try:
                for number in numbers:  # shared by the threads: each number comes once
                    made[number] = function(items[number])
            except BaseException:
                deque(numbers, maxlen=0)
                raise

        helping = [self._pool.submit(work) for _ in range(self._helpers)]
        try:
            work()
        finally:
            started = [helper for helper in helping if not helper.cancel()]
            wait(started)
        for helper in started:
            helper.result()
        return [made[number] for number in range(len(items))]


def in_processes(
    function: Callable[[Any], Any], jobs: Iterable[Any], num_processes: int, held: Sequence[int] = ()
) -> Generator[tuple[int, Any], None, None]:
    """Yield the number and the result of each job as they complete.

    An Error or OSError in a worker is raised here. Close the iterator to end the worker processes.

    Args:
        function: a top-level function of a module; its argument and result must be JSON values.
        num_processes: number of worker processes; 1 runs the jobs in this process.
        held: file descriptors that every worker keeps open, such as a lock.
    """
    numbered = enumerate(jobs)
    if num_processes == 1:
        for number, job in numbered:
            yield number, function(job)
        return
    workers = []
    try:
        with selectors.DefaultSelector() as selector:
            for _, (number, job) in zip(range(num_processes), numbered, strict=False):
                workers.append(_Worker(function, held))
                workers[-1].give(number, job)
                selector.register(workers[-1].results, selectors.EVENT_READ, workers[-1])
            while selector.get_map():
                for key, _ in selector.select():
                    worker: _Worker = key.data
                    yield worker.number, worker.take()
                    following = next(numbered, None)
                    if following is None:
                        selector.unregister(worker.results)
                    else:
                        worker.give(*following)
    finally:
        for worker in workers:
            worker.kill()
        for worker in workers:
            worker.bury()


class _Worker:
    """A worker process and its current job."""

    def __init__(self, function: Callable[[Any], Any], held: Sequence[int]) -> None:
        name = f"{function.__module__}:{function.__qualname__}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, name, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=held,
            start_new_session=True,  # only the parent receives Ctrl-C; it then ends its workers
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._jobs, self.results = self._process.stdin, self._process.stdout
        self.number = -1

    def give(self, number: int, job: Any) -> None:
        self.number = number
        try:
            self._jobs.write(json.dumps(job).encode() + b"\n")
            self._jobs.flush()
        except BrokenPipeError:
            self._say_why_it_ended()

    def take(self) -> Any:
        line = self.results.readline()
        if not line.endswith(b"\n"):
            self._say_why_it_ended()
        answer = json.loads(line)
        if "mistake" in answer:
            raise Error(answer["mistake"])
        if "failure" in answer:
            raise OSError(*answer["failure"])
        return answer["result"]

    def kill(self) -> None:
        self._process.kill()

    def bury(self) -> None:
        self._process.wait()
        self.results.close()
        with contextlib.suppress(BrokenPipeError):  # part of a job was not sent yet
            self._jobs.close()

    def _say_why_it_ended(self) -> None:
        code = self._process.wait()
        if code < 0:
            way_out = "The machine may be out of memory: free some and run the same command again."
            raise Killed(f"A worker process was killed by signal {-code}. {way_out}")
        raise RuntimeError(f"A worker process exited with code {code}. See its traceback above.")


def serve(name: str) -> None:
    """Run the jobs that arrive on standard input, and exit when it is closed.

    Args:
        name: "module:function".
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output of the function must not mix with answers
    jobs: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    try:
        module, _, attribute = name.partition(":")
        function = getattr(importlib.import_module(module), attribute)
        while True:
            print(json.dumps(_answer(function, json.loads(jobs.get()))), file=answers, flush=True)
    except BrokenPipeError:
        os._exit(1)
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # a normal exit would wait for the reader thread


def _listen(jobs: "SimpleQueue[bytes]") -> None:
    for line in sys.stdin.buffer:
        jobs.put(line)
    os._exit(1)


def _answer(function: Callable[[Any], Any], job: Any) -> dict[str, Any]:
    try:
        return {"result": function(job)}
    except Error as mistake:
        return {"mistake": str(mistake)}
    except OSError as failure:
        return {"failure": [failure.errno, failure.strerror]}
