"""What a search will take is told from its own pruner, and from the limits of the container that it runs in."""

from dataclasses import replace
from pathlib import Path

import pytest

from platform.preflight.display import as_json
from platform.preflight.estimate import free_memory, simulate_pruning
from platform.resolved_search import ResolvedSearch
from tests.platform.preflight.measured import projection_of
from tests.platform.searches import changed, suggestions_of


def test_pruning_is_foreseen_as_the_studys_own_pruner_has_it(search: ResolvedSearch) -> None:
    lengths = simulate_pruning(changed(search, epochs=90).setup, "halving", 90)
    assert lengths[:2] == [90, 90]  # the baselines
    first, *more = sorted(set(lengths) - {90})
    assert more == [first * 3**rung for rung in range(1, len(more) + 1)]  # successive halving's rungs
    assert 2 < lengths.count(90) < 90 / 3


def test_the_memory_of_a_container_counts_where_it_is_less(tmp_path: Path) -> None:
    for name, text in (("memory.max", "5000000"), ("memory.current", "3000000"), ("memory.stat", "inactive_file 7")):
        (tmp_path / name).write_text(f"{text}\n")
    assert free_memory(tmp_path) == 2_000_007
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) > 10**8


def test_checkpoints_in_a_bucket_take_no_room_of_the_disk(search: ResolvedSearch) -> None:
    on_disk, in_bucket = (projection_of(changed(search, checkpoints=place)) for place in (None, "s3://bucket/kept"))
    assert on_disk.disk_bytes == on_disk.kept_bytes + 10**6
    assert (in_bucket.kept_bytes, in_bucket.disk_bytes) == (on_disk.kept_bytes, 10**6)


def test_hours_are_epochs_by_their_length_over_the_trials_at_a_time(search: ResolvedSearch) -> None:
    """Written out: 32 steps and 2 evaluations of 0.1 s an epoch, half a GPU, so twice as long.

    Each trial takes 2 s before it trains, and each of the two trials at a time 3 s once, to start a process.
    """
    on_half_a_gpu = changed(search, gpus_per_rank=0.5, concurrency=2)
    projection = projection_of(on_half_a_gpu, process_s=3.0, prepare_s=1.5, warm_up_s=0.5)
    assert projection.epoch_s(projection.largest) == pytest.approx(2 * (32 + 2) * 0.1)
    assert projection.most_hours == pytest.approx((6 * (4 * 6.8 + 2) + 2 * 3) / 2 / 3600)
    assert projection.hours == pytest.approx((sum(projection.lengths) * 6.8 + 6 * 2 + 2 * 3) / 2 / 3600)


def test_trials_reuse_processes_and_those_that_start_first_wait_for_the_decoding(
    search: ResolvedSearch,
) -> None:
    """Written out: 3.4 s an epoch, and 3 + 7 s once for each of the two trials at a time."""
    projection = projection_of(changed(search, concurrency=2), process_s=3.0, decode_s=7.0)
    assert projection.most_hours == pytest.approx((6 * 4 * 3.4 + 2 * (3 + 7)) / 2 / 3600)


def test_a_finished_search_takes_no_time(search: ResolvedSearch) -> None:
    projection = replace(projection_of(search, process_s=3.0, decode_s=7.0), num_finished=6)
    assert (projection.hours, projection.most_hours) == (0, 0)


def test_every_rank_takes_memory_and_is_paid_for(search: ResolvedSearch) -> None:
    alone, of_three = (projection_of(changed(search, ranks_per_trial=ranks, concurrency=2)) for ranks in (1, 3))
    assert of_three.memory_bytes - alone.memory_bytes == 2 * 2 * alone.largest.peak_bytes
    assert of_three.hours == alone.hours
    suggestions = suggestions_of(search)
    cost, times_three = (as_json(one, suggestions.largest())["cpu_hours"]["most"] for one in (alone, of_three))
    assert times_three == pytest.approx(3 * cost)


def test_the_final_training_counts_with_its_images_and_without_an_evaluation(search: ResolvedSearch) -> None:
    """Written out: as many more steps as train and val have more images than train, once, after all other trials."""
    plain, final = (
        projection_of(changed(search, final_train=asked, concurrency=2), process_s=3.0, prepare_s=1.5, metrics_s=9.0)
        for asked in (False, True)
    )
    split = search.setup.manifest.split()
    num_val = len(split.val_query) + len(split.val_gallery)
    epoch_images = round(512 * (len(split.train) + num_val) / len(split.train))
    hours = (3.0 + 1.5 + 4 * epoch_images / 16 * 0.1) / 3600
    for name in ("hours", "most_hours", "trial_hours", "most_trial_hours"):
        assert getattr(final, name) == pytest.approx(getattr(plain, name) + hours), name
    assert final.kept_bytes == plain.kept_bytes + 10**6
