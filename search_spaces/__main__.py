"""`python -m search_spaces`: list and show the spaces; the platform validates them as a search would."""

from platform.spaces.show import main
from shards_tools.command import run

if __name__ == "__main__":
    run(main)
