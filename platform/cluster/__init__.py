"""A Ray cluster that somebody else runs: joined with a token, its nodes asked, its folders proved to be shared."""
