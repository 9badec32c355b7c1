"""The training loop and everything that it holds: step, optimizer, schedule, checkpoints."""
