"""Wait until a Ray cluster has enough nodes: `python deploy/slurm/wait_for_nodes.py ADDRESS NODES`."""

import logging
import sys
import time

import ray

PATIENCE_S = 300.0


def main(address: str, num_nodes: int, patience_s: float = PATIENCE_S) -> int:
    """0 once `num_nodes` nodes are in the cluster at `address`; 2, and a line that says so, where they are not."""
    deadline, joined, cause = time.monotonic() + patience_s, 0, "no answer"
    while time.monotonic() < deadline:
        try:
            if not ray.is_initialized():
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            joined = sum(node["Alive"] for node in ray.nodes())
            cause = "no more have joined"
        except ConnectionError as failure:  # the head has not started yet
            cause = (str(failure).strip().splitlines() or [cause])[0]
        if joined >= num_nodes:
            return 0
        time.sleep(1)
    print(
        f"Of {num_nodes} nodes {joined} are in the cluster at {address} after {patience_s:.0f} s "
        f"({cause.rstrip('.')}). Look at the log above for what Ray said on the others.",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
