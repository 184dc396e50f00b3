"""Settings that all tests share."""

import os

import scipy.linalg  # noqa: F401  # brings the BLAS that is limited below
from hypothesis import settings
from threadpoolctl import threadpool_limits

# Threads that wait for a busy core make small matrices ten to a hundred times slower. BLAS is
# loaded by now and is told; OpenMP, torch's, reads the variable when it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
threadpool_limits(1, user_api="blas")

# The machines that run these are shared: how long one example takes says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
