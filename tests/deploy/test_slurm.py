"""The Slurm script, run by bash with programs in Slurm's and Ray's place that write down how they were called."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, ROOT, installed

SCRIPT = DEPLOY / "slurm/search.sbatch"
SEARCH = ["--space", "transreid", "--runs", "/shared/my runs"]

# Each writes its name and words to $CALLS. Steps of srun last until they are ended, as `ray start --block` does; they
# are waited for before the driver starts, as the nodes are.
STUBS = {
    "scontrol": 'echo "scontrol $*" >>"$CALLS"; [ "$1" = requeue ] || printf "node1\\nnode2\\nnode3\\n"',
    "srun": 'echo "srun $*" >>"$CALLS"; trap "exit 0" TERM; touch "$CALLS.step.$$"; while :; do sleep 0.05; done',
    "python": """
case "$*" in
*wait_for_nodes*)
    while [ "$(ls "$CALLS".step.* 2>/dev/null | wc -l)" -lt 3 ]; do sleep 0.05; done
    echo "python $*" >>"$CALLS"; exit "${NODES_STATUS:-0}" ;;
esac
echo "python $* [$#]" >>"$CALLS"
[ -n "${LASTS:-}" ] || exit "${SEARCH_STATUS:-0}"
trap 'echo "driver got TERM" >>"$CALLS"; sleep 0.5; echo "driver ended" >>"$CALLS"; exit 130' TERM
touch "$CALLS.driver"
while :; do sleep 0.05; done
""",
}


class Job:
    """One run of the script as a job of three nodes."""

    def __init__(self, folder: Path) -> None:
        self._calls, self._bin = folder / "calls", folder / "bin"
        self._bin.mkdir()
        for name, text in STUBS.items():
            (self._bin / name).write_text(f"#!/bin/bash\n{text}\n")
            (self._bin / name).chmod(0o755)
        self.token = folder / "token"
        self.token.write_text("abc")
        self._process: subprocess.Popen[str] | None = None

    def start(self, **settings: str) -> None:
        environment = {
            "PATH": f"{self._bin}:{os.environ['PATH']}",
            "HOME": str(self._bin),
            "CALLS": str(self._calls),
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "SAKUGA_BIN": str(self._bin),
            "SLURM_JOB_ID": "77",
            "SLURM_JOB_NODELIST": "node[1-3]",
            "SLURM_SUBMIT_DIR": str(ROOT),
        }
        words = ["bash", SCRIPT, *SEARCH]
        self._process = subprocess.Popen(
            words, env={**environment, **settings}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def term(self) -> None:
        """What Slurm does to the batch shell, once the driver runs."""
        assert self._process
        deadline = time.monotonic() + 30
        while not self._calls.with_name("calls.driver").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self._process.send_signal(signal.SIGTERM)

    def end(self) -> tuple[int, str]:
        """Its exit code and what it wrote to standard error."""
        assert self._process
        error = self._process.communicate(timeout=60)[1]
        return self._process.returncode, error

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    def steps_left(self) -> list[int]:
        """The stub steps that are still there; none some time after the end."""
        steps = [int(file.suffix[1:]) for file in self._calls.parent.glob("calls.step.*")]
        deadline = time.monotonic() + 10
        while (left := [step for step in steps if Path(f"/proc/{step}").exists()]) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_bash_takes_the_script() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)


def test_shellcheck_finds_nothing() -> None:
    shellcheck = installed("shellcheck")
    scripts = [SCRIPT, *(DEPLOY / "docker").glob("*.sh"), *(DEPLOY / "compose").glob("*.sh")]
    result = subprocess.run([shellcheck, *scripts], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_slurm_is_told_to_warn_the_script_and_to_put_it_back() -> None:
    told = {line.removeprefix("#SBATCH ") for line in SCRIPT.read_text().splitlines() if line.startswith("#SBATCH")}
    assert {"--signal=B:TERM@120", "--requeue", "--exclusive", "--open-mode=append", "--ntasks-per-node=1"} <= told


def test_a_node_of_ray_starts_on_every_node_and_the_driver_once_they_are_there(job: Job) -> None:
    job.start()
    assert job.end() == (0, "")
    step = "--nodes=1 --ntasks=1 --overlap --nodelist="
    ray = f"{job.token.parent}/bin/ray start --block --disable-usage-stats --temp-dir=/tmp/ray-77"
    # The three steps start at the same time, and the driver only after the nodes were waited for.
    assert sorted(call for call in job.calls if call.startswith("srun")) == [
        f"srun {step}node1 {ray} --head --port=6379 --dashboard-host=127.0.0.1",
        f"srun {step}node2 {ray} --address=node1:6379",
        f"srun {step}node3 {ray} --address=node1:6379",
    ]
    assert [call for call in job.calls if not call.startswith("srun")] == [
        "scontrol show hostnames node[1-3]",
        "python deploy/slurm/wait_for_nodes.py node1:6379 3",
        "python -m platform.search --address node1:6379 --space transreid --runs /shared/my runs [8]",
    ]
    assert job.steps_left() == []


@pytest.mark.parametrize("status", ["1", "2"])
def test_a_search_that_fails_is_not_put_back(job: Job, status: str) -> None:
    job.start(SEARCH_STATUS=status, SLURM_JOB_END_TIME=str(int(time.time()) + 60))
    assert job.end()[0] == int(status)
    assert "scontrol requeue 77" not in job.calls
    assert job.steps_left() == []


def test_a_job_whose_time_is_up_lets_the_driver_end_and_is_put_back(job: Job) -> None:
    job.start(LASTS="yes", SLURM_JOB_END_TIME=str(int(time.time()) + 120))
    job.term()
    assert job.end()[0] == 130
    assert job.calls[-3:] == ["driver got TERM", "driver ended", "scontrol requeue 77"]
    assert job.steps_left() == []


@pytest.mark.parametrize("hours_left", [5, None])
def test_a_job_that_is_preempted_or_canceled_lets_the_driver_end_and_leaves_the_rest_to_slurm(
    job: Job, hours_left: int | None
) -> None:
    end = {} if hours_left is None else {"SLURM_JOB_END_TIME": str(int(time.time()) + hours_left * 3600)}
    job.start(LASTS="yes", **end)
    job.term()
    assert job.end()[0] == 130
    assert job.calls[-2:] == ["driver got TERM", "driver ended"]


def test_nodes_that_do_not_come_end_the_job_before_the_search(job: Job) -> None:
    job.start(NODES_STATUS="2")
    assert job.end()[0] == 2
    assert not any("platform.search" in call for call in job.calls)
    assert job.steps_left() == []


def test_a_missing_token_is_named_before_anything_starts(job: Job) -> None:
    job.token.unlink()
    job.start()
    status, error = job.end()
    assert status == 2
    assert error.startswith(f"There is no token in {job.token}. Make one: ")
    assert job.calls == []
