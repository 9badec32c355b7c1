"""What a search will take, from steps that were measured: trials, hours, memory and disk."""

from __future__ import annotations

import math
import random
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import optuna
import psutil
from optuna.trial import TrialState

from platform.plan import Plan
from platform.pruning import make_pruner, should_stop
from platform.stores import existing_folder
from platform.trial_record import TrialRecord
from trainables.gpu_share import share_bytes
from trainables.one_step import OneStep

RAY_BYTES = 500_000_000  # of Ray's own processes on one machine; 0.4 GB were measured with Ray 2.60
KEPT_PER_RUNNING_TRIAL = 2  # checkpoints; see execution.py
CGROUP = Path("/sys/fs/cgroup")  # where a container says how much memory it has


@dataclass(frozen=True, kw_only=True)
class Projection:
    """A plan with the measured steps of its largest training and of a usual one."""

    plan: Plan
    num_finished: int
    num_running: int
    largest: OneStep
    usual: OneStep
    pixel_bytes: int  # of decoded images, which all trials of a machine share; 0: each is decoded when asked for
    memory_free_bytes: int  # on all machines, before anything was tried
    num_machines: int = 1

    @property
    def num_left(self) -> int:
        """Trials that are still to finish."""
        return max(0, self.plan.trials - self.num_finished)

    @cached_property
    def lengths(self) -> list[int]:
        """The epochs of each trial that is left, as the study's pruner cuts them."""
        return simulate_pruning(self.plan)[self.num_finished :]

    @property
    def num_complete(self) -> int:
        """How many of those that are left run to their end."""
        return sum(length == self.plan.longest_epochs for length in self.lengths)

    @property
    def hours(self) -> float:
        """Until the end: every trial as fast as the usual one, pruned as `lengths` says."""
        return self.trial_hours / self._at_a_time

    @property
    def most_hours(self) -> float:
        """Until the end, were every trial as slow as the slower of the two and none pruned."""
        return self.most_trial_hours / self._at_a_time

    @property
    def trial_hours(self) -> float:
        """Of all trials together, as `hours` takes them: what is paid for, times the GPUs of each."""
        return self._trial_hours(self.usual, sum(self.lengths))

    @property
    def most_trial_hours(self) -> float:
        """Of all trials together, as `most_hours` takes them."""
        num_epochs = self.num_left * self.plan.longest_epochs
        return max(self._trial_hours(step, num_epochs) for step in (self.largest, self.usual))

    @property
    def memory_bytes(self) -> int:
        """Of host memory: as many of the largest training as run at a time; decoded images and Ray on each machine."""
        num_processes = self.plan.concurrency * self.plan.ranks_per_trial
        return num_processes * self.largest.peak_bytes + self.num_machines * (self.pixel_bytes + RAY_BYTES)

    @property
    def gpu_share_bytes(self) -> int:
        """Of GPU memory, what the tensors of one rank may take; a rank uses one GPU, however many it holds."""
        return share_bytes(self.plan.gpus_per_rank, self.largest.gpu_total_bytes)

    @property
    def kept_bytes(self) -> int:
        """Checkpoints of what runs, and one of each complete trial."""
        num_running = min(self.plan.concurrency, self.num_left)
        return (KEPT_PER_RUNNING_TRIAL * num_running + self.num_complete) * self.largest.checkpoint_bytes

    @property
    def disk_bytes(self) -> int:
        """Under --runs: what is kept, unless a bucket keeps it, and the best one's copy for MLflow."""
        copy_bytes = (self.num_left > 0) * self.largest.checkpoint_bytes
        return copy_bytes + (0 if self.plan.checkpoints else self.kept_bytes)

    @property
    def disk_free_bytes(self) -> int:
        """Left where --runs lies."""
        return shutil.disk_usage(existing_folder(self.plan.runs)).free

    def epoch_s(self, step: OneStep) -> float:
        """Seconds of an epoch with its evaluation, by ranks that have their CPUs, and their share of a GPU's speed."""
        num_steps = step.epoch_images / step.batch_images
        num_evaluations = step.val_images / step.evaluate_images
        compute_s = num_steps * step.step_s + num_evaluations * step.evaluate_s
        compute_s /= min(self.plan.gpus_per_rank or 1.0, 1.0)
        if self.pixel_bytes:
            return compute_s
        load_s = num_steps * step.load_s + num_evaluations * step.evaluate_load_s
        # a GPU computes while the CPU decodes
        return max(compute_s, load_s) if step.gpu_bytes else compute_s + load_s

    @property
    def _at_a_time(self) -> int:
        return max(1, min(self.plan.concurrency, self.num_left))

    def _trial_hours(self, step: OneStep, num_epochs: int) -> float:
        return (num_epochs * self.epoch_s(step) + self.num_left * step.start_s) / 3600


def simulate_pruning(plan: Plan) -> list[int]:
    """The epochs of each trial, one after another, if the order of trials is the same after every epoch.

    How good each is is drawn at random; the study's own pruner says when it ends.
    """
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=plan.seed), pruner=make_pruner(plan)
    )
    for row in list(plan.space.baselines)[: plan.trials]:
        study.enqueue_trial({}, user_attrs=TrialRecord.attributes(baseline=row))
    draw = random.Random(plan.seed)
    return [_simulate(study, draw.random(), plan.longest_epochs) for _ in range(plan.trials)]


def _simulate(study: optuna.Study, value: float, epochs: int) -> int:
    trial = study.ask()
    for epoch in range(1, epochs + 1):
        trial.report(value, epoch)
        if should_stop(trial, epoch, epochs):
            study.tell(trial, state=TrialState.PRUNED)
            return epoch
    study.tell(trial, value)
    return epochs


def free_memory(cgroup: Path = CGROUP) -> int:
    """Bytes of host memory that may still be taken, by the machine or by the container that this process runs in."""
    available = float(psutil.virtual_memory().available)
    try:
        limit, used = (float((cgroup / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        # files that were read are counted as used, and given back when memory is wanted
        available = min(available, limit - used + float(stat["inactive_file"]))
    except (OSError, ValueError):  # no such limit: memory.max holds "max", or is not there
        pass
    return max(0, math.floor(available))
