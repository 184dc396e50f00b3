"""Arithmetic runs on one thread while a tile runs, and freed memory is reused on the workers of dask."""

import os
import subprocess
import sys

import pytest
import torch
from threadpoolctl import threadpool_info

from dualsr_geo.threads import DASK_TRIM_SETTING, one_thread

# Fills and frees 2 MiB (numpy uses huge pages from 4 MiB on) 80 times; prints the MiB of pages that were allocated.
FAULTS = """
import resource
import numpy as np
from dualsr_geo.threads import keep_freed
changed = keep_freed()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
np.ones(2**18)
before = faults()
for _ in range(80):
    np.ones(2**18)
print(changed, (faults() - before) * resource.getpagesize() / 2**20)
"""


def allocated(**env):
    """Return whether `keep_freed` changed a setting, and the MiB of pages that `FAULTS` allocates."""
    run = subprocess.run(
        [sys.executable, "-c", FAULTS], env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    changed, mib = run.stdout.split()
    return changed == "True", float(mib)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc has mallopt")
def test_a_worker_of_dask_reuses_freed_memory():
    name, value = DASK_TRIM_SETTING
    changed, mib = allocated(**{name: value})
    assert changed
    assert mib < 20  # of 160
    # Without the change each array allocates new pages.
    changed, mib = allocated(**{name: value, "MALLOC_MMAP_THRESHOLD_": "131072"})
    assert not changed
    assert mib > 150


def test_another_setting_is_not_changed():
    assert allocated(MALLOC_TRIM_THRESHOLD_="131072")[0] is False


def test_dask_still_has_the_setting_that_is_changed():
    import dask
    import distributed  # noqa: F401  # brings its settings

    name, value = DASK_TRIM_SETTING
    assert str(dask.config.get("distributed.nanny.pre-spawn-environ")[name]) == value


def test_the_number_of_threads_is_one_in_the_block_and_restored_after_it():
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


@pytest.mark.parametrize("before", [True, False])
def test_convolutions_of_float32_are_not_rounded_to_tf32_while_a_tile_runs(monkeypatch, before):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
    with one_thread():
        assert not torch.backends.cudnn.allow_tf32
        with one_thread():
            assert not torch.backends.cudnn.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
    assert torch.backends.cudnn.allow_tf32 is before
