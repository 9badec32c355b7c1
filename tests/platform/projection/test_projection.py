"""What a search will take is told from its own pruner, and from the limits of the container that it runs in."""

from dataclasses import replace
from pathlib import Path

from platform.plan import Plan
from platform.projection.projection import free_memory, simulate_pruning


def test_pruning_is_foreseen_as_the_studys_own_pruner_has_it(plan: Plan) -> None:
    lengths = simulate_pruning(replace(plan, trials=90, epochs=90))
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
