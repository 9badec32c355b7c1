"""Estimate the trials, hours, memory and disk space of a search from measured steps."""

from __future__ import annotations

import math
import random
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import optuna
import psutil
from optuna.trial import TrialState

from platform.preflight.storage_checks import existing_folder
from platform.resolved_search import ResolvedSearch
from platform.samplers.pruning import make_pruner, should_stop
from platform.training_setup import TrainingSetup
from platform.trial_record import TrialRecord
from shards_tools.manifest import TRAINED_ON_ALL_BUT_TEST
from trainables.profiling.measure_step import OneStep
from trainables.profiling.resource_usage import share_bytes

RAY_BYTES = 500_000_000  # memory of Ray's own processes on one machine; 0.4 GB measured with Ray 2.60
KEPT_PER_RUNNING_TRIAL = 2  # checkpoints; see execution.py
CGROUP = Path("/sys/fs/cgroup")  # has the memory limit of a container


@dataclass(frozen=True, kw_only=True)
class Projection:
    """The estimate for a search, from measured steps of its largest training and of the one of median size."""

    search: ResolvedSearch
    num_finished: int
    num_running: int
    largest: OneStep
    usual: OneStep
    pixel_bytes: int  # decoded images, shared by all trials of a machine; 0: images are decoded when they are read
    memory_free_bytes: int  # on all machines, before measuring
    num_machines: int = 1
    loads_ahead: bool = True  # whether a CPU is free to load the batches of each rank while it trains

    @property
    def num_left(self) -> int:
        """The number of unfinished trials."""
        return max(0, self.search.budget.trials - self.num_finished)

    @cached_property
    def lengths(self) -> list[int]:
        """The epochs of each trial that is left, according to a simulation of the pruner."""
        search = self.search
        return simulate_pruning(search.setup, search.method.pruner, search.budget.trials)[self.num_finished :]

    @property
    def num_complete(self) -> int:
        """How many of the trials that are left are not pruned."""
        return sum(length == self.search.setup.longest_epochs for length in self.lengths)

    @property
    def hours(self) -> float:
        """Hours until the end if every trial is as fast as the one of median size and is pruned as in `lengths`."""
        trials = self._trial_hours(self.usual, sum(self.lengths)) / self._at_a_time
        return trials + self._final_hours(self.usual)

    @property
    def most_hours(self) -> float:
        """Hours until the end if every trial is as slow as the slower of the two steps and none is pruned."""
        trials = max(self._trial_hours(step, self._most_epochs) for step in (self.largest, self.usual))
        return trials / self._at_a_time + self.most_final_hours

    @property
    def trial_hours(self) -> float:
        """The sum of the hours of all trainings, under the assumptions of `hours`; times the GPUs, it is the cost."""
        return self._trial_hours(self.usual, sum(self.lengths)) + self._final_hours(self.usual)

    @property
    def most_trial_hours(self) -> float:
        """The sum of the hours of all trainings, under the assumptions of `most_hours`."""
        trials = max(self._trial_hours(step, self._most_epochs) for step in (self.largest, self.usual))
        return trials + self.most_final_hours

    @property
    def most_final_hours(self) -> float:
        """Hours of the final training at the speed of the slower of the two steps; 0 without --final-train."""
        return max(self._final_hours(step) for step in (self.largest, self.usual))

    @property
    def memory_bytes(self) -> int:
        """Host memory of the largest training times the concurrency, plus decoded images and Ray on each machine."""
        resources = self.search.resources
        num_processes = resources.concurrency * resources.ranks_per_trial
        return num_processes * self.largest.peak_bytes + self.num_machines * (self.pixel_bytes + RAY_BYTES)

    @property
    def gpu_share_bytes(self) -> int:
        """GPU memory that the tensors of one rank may use; a rank uses one GPU even if it has several."""
        return share_bytes(self.search.resources.gpus_per_rank, self.largest.gpu_total_bytes)

    @property
    def kept_bytes(self) -> int:
        """Size of the checkpoints: several of each running trial and one of each complete training."""
        num_running = min(self.search.resources.concurrency, self.num_left)
        num_kept = self.num_complete + self.search.protocol.final_train
        return (KEPT_PER_RUNNING_TRIAL * num_running + num_kept) * self.largest.checkpoint_bytes

    @property
    def disk_bytes(self) -> int:
        """Disk space under `--runs`: the checkpoints, unless a bucket stores them, and MLflow's copy of the best."""
        copy_bytes = (self.num_left > 0) * self.largest.checkpoint_bytes
        return copy_bytes + (0 if self.search.stores.checkpoints else self.kept_bytes)

    @property
    def disk_free_bytes(self) -> int:
        """Free disk space of the file system of `--runs`."""
        return shutil.disk_usage(existing_folder(self.search.stores.runs)).free

    def epoch_s(self, step: OneStep) -> float:
        """Return the seconds of an epoch with evaluation and checkpoint, if trials that share a GPU share its speed."""
        return step.epoch_s(gpu_share=self._gpu_share, loads_ahead=self.loads_ahead)

    @property
    def _gpu_share(self) -> float:
        return min(self.search.resources.gpus_per_rank or 1.0, 1.0)

    @property
    def _most_epochs(self) -> int:
        return self.num_left * self.search.setup.longest_epochs

    @property
    def _at_a_time(self) -> int:
        return max(1, min(self.search.resources.concurrency, self.num_left))

    def _final_hours(self, step: OneStep) -> float:
        """Return the hours of the training on train and val, whose epochs have more images and no evaluation."""
        if not self.search.protocol.final_train:
            return 0.0
        setup = self.search.setup
        _, num_images = setup.manifest.with_trained(TRAINED_ON_ALL_BUT_TEST).train_size(setup.fold)
        longer = num_images / setup.train_size[1]
        final = replace(step, epoch_images=round(longer * step.epoch_images), val_images=0, metrics_s=0.0)
        training_s = final.training_s(setup.longest_epochs, gpu_share=self._gpu_share, loads_ahead=self.loads_ahead)
        return (step.process_s + training_s) / 3600

    def _trial_hours(self, step: OneStep, num_epochs: int) -> float:
        """Return the sum of the hours of all trials that are left, if they train for `num_epochs` in all."""
        if not self.num_left:
            return 0.0
        num_processes = self._at_a_time if self.search.resources.reuses_processes else self.num_left
        once_s = self.num_left * (step.prepare_s + step.warm_up_s) + num_processes * step.process_s
        # The first trial of each machine decodes the images, and the others that start with it wait for them.
        once_s += self._at_a_time * step.decode_s
        return (once_s + num_epochs * self.epoch_s(step)) / 3600


def simulate_pruning(setup: TrainingSetup, pruner: str, num_trials: int) -> list[int]:
    """Return the number of epochs of each trial, from a simulated search with the study's pruner.

    Each trial has a random value that is the same after every epoch, and the trials run one after another.
    """
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(seed=setup.seed),
        pruner=make_pruner(pruner, setup.rungs),
    )
    for row in list(setup.space.baselines)[:num_trials]:
        study.enqueue_trial({}, user_attrs=TrialRecord.attributes(baseline=row))
    draw = random.Random(setup.seed)
    return [_simulate(study, draw.random(), setup.longest_epochs) for _ in range(num_trials)]


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
    """Return the free host memory of this machine, or of the container if that has less, in bytes."""
    available = float(psutil.virtual_memory().available)
    try:
        limit, used = (float((cgroup / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
        # The page cache counts as used, but is reclaimed when memory is needed.
        available = min(available, limit - used + float(stat["inactive_file"]))
    except (OSError, ValueError):  # no limit: memory.max is "max" or does not exist
        pass
    return max(0, math.floor(available))
