"""What a search has left behind, looked at from where its stores can be reached; a command of the tests."""

import json
import sys
import time

import ray
from ray.util import placement_group_table

from tests.platform.driver import assert_whole, stored_trials


def main(storage: str, tracking: str, num_trials: str, head: str, num_cpus: str) -> None:
    """Every trial once in both stores, and nothing held on the cluster; prints the trials.

    The summary that the search printed comes through standard input.
    """
    summary = json.loads(sys.stdin.read())
    assert_whole(storage, tracking, summary, int(num_trials), experiment=summary["study"])
    ray.init(address=head, log_to_driver=False, logging_level="ERROR")
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU") != float(num_cpus):
        assert time.monotonic() < deadline, f"{ray.available_resources()} are free of {num_cpus} CPUs"
        time.sleep(0.5)
    groups = {group["state"] for group in placement_group_table().values()}
    assert groups <= {"REMOVED"}, groups
    print(
        json.dumps(
            [
                {
                    "number": trial.number,
                    "params": trial.params,
                    "values": trial.intermediate_values,
                    "attempts": trial.user_attrs["attempts"],
                    "metrics": trial.user_attrs["metrics"],
                }
                for trial in stored_trials(storage)
            ]
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
