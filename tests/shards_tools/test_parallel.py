"""Several worker processes: every job once, errors in one line, and no process left when the parent exits."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from shards_tools.errors import Error, unknown
from shards_tools.parallel import Killed, ThreadTeam, in_processes, num_cpus

pytestmark = pytest.mark.integration


def children() -> list[int]:
    """Return the processes that a test started; multiprocessing keeps one of its own after other tests."""
    return [child.pid for child in psutil.Process().children() if child.pid not in others]


others: set[int] = set()


@pytest.fixture(autouse=True)
def _know_the_others() -> None:
    others.update(child.pid for child in psutil.Process().children())


def run_all(function, jobs, num_processes: int) -> dict[int, object]:
    with closing(in_processes(function, jobs, num_processes)) as done:
        return dict(done)


@pytest.mark.parametrize("num_processes", [1, 2, 3])
@pytest.mark.parametrize("num_jobs", [0, 1, 2, 7])
def test_every_job_is_done_once(num_processes, num_jobs):
    jobs = [f"a line\nand another, {number} \udc80" for number in range(num_jobs)]
    done = run_all(textwrap.dedent, jobs, num_processes)
    assert done == dict(enumerate(jobs))
    assert children() == []


def test_jobs_are_made_when_they_are_asked_for():
    made = []

    def jobs():
        for number in range(100):
            made.append(number)
            yield str(number)

    with closing(in_processes(textwrap.dedent, jobs(), 2)) as done:
        next(done)
        assert len(made) == 2


def test_the_work_is_done_in_as_many_processes(tmp_path):
    files = [str(tmp_path / str(number)) for number in range(2)]
    run_all(_wait_for_the_other, [files, files[::-1]], 2)
    assert len({Path(file).read_text() for file in files}) == 2


def _wait_for_the_other(files: list[str]) -> None:
    own, other = map(Path, files)
    own.write_text(str(os.getpid()))
    deadline = time.monotonic() + 30
    while not other.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_mistake_in_a_process_is_the_parents(num_processes):
    with pytest.raises(Error, match="'a b' is not a known thing"):
        run_all(_refuse, ["a b"], num_processes)
    with pytest.raises(OSError, match="No space left on device"):
        run_all(_fill_the_disk, ["", ""], num_processes)
    assert children() == []


def _refuse(name: str) -> None:
    raise unknown("thing", name, ["c"])


def _fill_the_disk(_: str) -> None:
    with open("/dev/full", "w") as file:
        file.write("x")


def test_a_bug_in_a_process_shows_its_traceback(capfd):
    with pytest.raises(RuntimeError, match="exited with code 1"):
        run_all(textwrap.dedent, [7, 7], 2)
    assert "in dedent" in capfd.readouterr().err
    assert children() == []


def test_a_process_that_is_killed_is_a_mistake_in_one_line():
    with pytest.raises(Killed, match="killed by signal 9") as mistake:
        run_all(_die, [[], []], 2)
    assert "\n" not in str(mistake.value)
    assert children() == []


def _die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_a_job_prints_is_no_result():
    assert run_all(print, ["noise", "noise"], 2) == {0: None, 1: None}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_with_the_parent_its_processes_end_in_the_middle_of_a_job(number, tmp_path):
    places = [tmp_path / name for name in ("first", "second")]
    for place in places:
        script = "import os, pathlib, time; pathlib.Path({!r}).write_text(str(os.getpid())); time.sleep(60)"
        place.with_suffix(".py").write_text(script.format(str(place)))
    jobs = [str(place.with_suffix(".py")) for place in places]
    # If a shell starts the tests in the background, they and their children ignore Ctrl-C.
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    work = f"import runpy; from shards_tools.parallel import *; list(in_processes(runpy.run_path, {jobs}, 2))"
    parent = subprocess.Popen([sys.executable, "-c", f"{heed}; {work}"], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not all(place.exists() and place.read_text() for place in places):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        processes = [psutil.Process(int(place.read_text())) for place in places]
        parent.send_signal(number)
        parent.wait(30)
        _, alive = psutil.wait_procs(processes, timeout=10)
        assert alive == []
    finally:
        parent.kill()
        parent.wait()


def test_a_process_holds_what_it_is_told_to(tmp_path):
    file = os.open(tmp_path, os.O_RDONLY)
    with closing(in_processes(_stat, [file, file], 2, held=(file,))) as done:
        assert dict(done) == {0: os.fstat(file).st_ino, 1: os.fstat(file).st_ino}
    os.close(file)


def _stat(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino


def test_the_cpus_are_those_this_process_may_use():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); from shards_tools.parallel import *"
    done = subprocess.run([sys.executable, "-c", f"{code}; print(num_cpus())"], capture_output=True, check=True)
    assert done.stdout == b"1\n"
    assert num_cpus() == len(os.sched_getaffinity(0))


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("num_items", [0, 1, 3, 50])
def test_a_team_returns_the_results_in_the_order_of_the_items(num_threads, num_items):
    team = ThreadTeam(num_threads)
    for _ in range(20):
        assert team.map(str, range(num_items)) == [str(item) for item in range(num_items)]


def test_a_slow_item_delays_no_other():
    others_done, done = threading.Event(), []

    def work(item: int) -> None:
        if item == 0:
            assert others_done.wait(timeout=20), "the other thread left items to the slow one"
        done.append(item)
        if len(done) == 9:
            others_done.set()

    ThreadTeam(2).map(work, range(10))
    assert sorted(done) == list(range(10))


def test_a_team_whose_threads_are_busy_elsewhere_still_works():
    team, begun, release = ThreadTeam(2), threading.Barrier(3), threading.Event()

    def wait(_: int) -> None:
        begun.wait(20)
        assert release.wait(20), "the second call waited for the first"

    first = threading.Thread(target=team.map, args=(wait, range(2)))
    first.start()
    begun.wait(20)
    assert team.map(str, range(3)) == ["0", "1", "2"]
    release.set()
    first.join()


def test_no_further_item_starts_after_an_exception():
    begun, failed = [], threading.Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 0:
            failed.set()
            raise Error("item 0")
        failed.wait(20)
        time.sleep(0.01)

    with pytest.raises(Error, match="item 0"):
        ThreadTeam(2).map(work, range(1000))
    assert len(begun) < 1000


def test_an_exception_in_a_helping_thread_is_raised_in_the_calling_one():
    failed = threading.Event()

    def work(item: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            failed.set()
            raise Error(f"item {item}")
        failed.wait(20)

    with pytest.raises(Error, match=r"item [01]"):
        ThreadTeam(2).map(work, range(100))
