"""Work directories of runs: what a run keeps until its output is in its place, and its lock."""
