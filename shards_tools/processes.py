"""Work in several processes: jobs go out and results come back as lines of JSON.

No pool of the standard library is used. Those of `concurrent.futures` outlive a parent that is killed and wait for it
for ever, run the parent's main file again, and cannot hold its lock. A process of ours ends with its parent, also in
the middle of a job.
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
from collections.abc import Callable, Generator, Iterable, Sequence
from queue import SimpleQueue
from typing import Any

from shards_tools.errors import Error

START = "import sys; sys.path[:] = sys.argv[2:]; from shards_tools.processes import serve; serve(sys.argv[1])"


class Killed(Error):
    """A process that worked for this one was ended by a signal."""


def num_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def in_processes(
    function: Callable[[Any], Any], jobs: Iterable[Any], num_processes: int, held: Sequence[int] = ()
) -> Generator[tuple[int, Any], None, None]:
    """Each job's number and what the function makes of it, as they get done.

    Jobs and results are what JSON holds, the function is one of a module. With one process the work is done in this
    one. An Error or OSError in a process is raised here. Close the iterator: with it the processes end.

    Args:
        held: descriptors that every process keeps open, such as that of a lock.
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
    """A process and the job that it does."""

    def __init__(self, function: Callable[[Any], Any], held: Sequence[int]) -> None:
        name = f"{function.__module__}:{function.__qualname__}"
        self._process = subprocess.Popen(
            [sys.executable, "-c", START, name, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=held,
            start_new_session=True,  # Ctrl-C in the terminal is for the parent, which then ends its processes
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
        with contextlib.suppress(BrokenPipeError):  # part of a job was still to be sent
            self._jobs.close()

    def _say_why_it_ended(self) -> None:
        code = self._process.wait()
        if code < 0:
            why = "This machine's memory may be full: free some, and run the same command again."
            raise Killed(f"A process that works for this one was ended by signal {-code}. {why}")
        raise RuntimeError(f"A process that works for this one ended with code {code}; its own traceback stands above.")


def serve(name: str) -> None:
    """Do the jobs that come through standard input; the process ends where that does.

    Args:
        name: "module:function".
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the function prints is no answer
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
        os._exit(1)  # an ordinary end would wait for the thread that reads


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
