"""Settings that all tests share."""

import os

from hypothesis import settings

# Threads that wait for a busy core make small matrices a hundred times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The machines that run these are shared: how long one example takes says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
