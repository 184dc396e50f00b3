"""What arithmetic runs on: one thread while a tile is at work, and memory that dask does not take away."""

import os
import subprocess
import sys

import pytest
import torch
from threadpoolctl import threadpool_info

from dualsr_geo.threads import DASK_TRIMS, one_thread

# Fills 2 MiB (numpy asks for huge pages from 4 on), frees them, 80 times; says how many MiB of pages were asked for anew.
FAULTS = """
import resource
import numpy as np
from dualsr_geo.threads import keep_freed
told = keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**18)
before = faults()
for _ in range(80):
    np.ones(2**18)
print(told, (faults() - before) * resource.getpagesize() / 2**20)
"""


def asked_for(**env):
    said = subprocess.run(
        [sys.executable, "-c", FAULTS], env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    told, mib = said.stdout.split()
    return told == "True", float(mib)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own")
def test_a_worker_of_dask_uses_freed_memory_again():
    name, value = DASK_TRIMS
    told, mib = asked_for(**{name: value})
    assert told
    assert mib < 20  # of 160
    # Without it every array asks anew, which is why it is there.
    kept, anew = asked_for(**{name: value, "MALLOC_MMAP_THRESHOLD_": "131072"})
    assert not kept
    assert anew > 150


def test_elsewhere_the_library_is_left_alone():
    assert asked_for(MALLOC_TRIM_THRESHOLD_="131072")[0] is False


def test_dask_still_tells_its_workers_what_is_undone_here():
    import dask
    import distributed  # noqa: F401  # brings its settings

    name, value = DASK_TRIMS
    assert str(dask.config.get("distributed.nanny.pre-spawn-environ")[name]) == value


def test_threads_are_one_inside_and_as_before_after():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            with one_thread():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
            assert {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"} == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
