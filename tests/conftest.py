"""Settings that all tests share."""

import os

import dask
import pytest
import scipy.linalg  # noqa: F401  # brings the BLAS that is limited below
import store_server
from hypothesis import settings
from threadpoolctl import threadpool_limits

from dualsr_geo import synthetic
from dualsr_geo.option_names import STYLE

# Threads that wait for a busy core make small matrices ten to a hundred times slower. BLAS is
# loaded by now and is told; OpenMP, torch's, reads the variable when it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
threadpool_limits(1, user_api="blas")

# A LocalCluster gives up a worker that takes 15 s to come back, which on a busy machine is not enough.
dask.config.set({"distributed.deploy.lost-worker-timeout": "300s"})

# The machines that run these are shared: how long one example takes says nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

# Tests compare messages as they are written, with flags; tests/test_option_names.py and tests of Python's surface turn
# this off and compare the keywords that a user of Python reads.
os.environ.setdefault(STYLE, "flags")


@pytest.fixture(scope="session")
def servers():
    yield from store_server.run_servers()


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    """Scene and guide of an awkward size, 41 x 57 lr pixels."""
    return synthetic.write(tmp_path_factory.mktemp("inputs"), shape=(41, 57), bands=5, guide="rgb", seed=5)


@pytest.fixture
def bucket(servers, inputs, monkeypatch):
    yield from store_server.make_bucket(servers, inputs, monkeypatch)
