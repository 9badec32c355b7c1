"""What people see of a search while it runs: lines, or a live picture where there is a terminal."""
