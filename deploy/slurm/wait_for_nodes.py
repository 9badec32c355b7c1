"""Wait until a Ray cluster has enough nodes: `python deploy/slurm/wait_for_nodes.py ADDRESS NODES`."""

import logging
import sys
import time

import ray

PATIENCE_S = 300.0


def main(address: str, num_nodes: int, patience_s: float = PATIENCE_S) -> int:
    """Return 0 once `num_nodes` nodes have joined the cluster at `address`, or print why not and return 2."""
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
        f"{joined} of {num_nodes} nodes joined the cluster at {address} within {patience_s:.0f} s "
        f"({cause.rstrip('.')}). See Ray's messages from the other nodes in the log above.",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
