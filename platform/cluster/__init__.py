"""Running Ray clusters: join one with a token, run functions on its nodes, and check that the nodes share folders."""
