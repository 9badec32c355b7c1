"""`python -m search_spaces`: the spaces, checked as a search checks them, which the platform does."""

from platform.spaces.show import main
from shards_tools.command import run

if __name__ == "__main__":
    run(main)
