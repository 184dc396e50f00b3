"""What arithmetic runs on: how many threads of torch and BLAS, and memory that is used again."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import scipy.linalg  # noqa: F401  # brings its own BLAS, which is limited below
import torch
from threadpoolctl import ThreadpoolController

# What dask's nanny tells the C library of its workers (`distributed.nanny.pre-spawn-environ`): give back all that
# is freed. Then every array asks for its pages anew, and a tile takes 1.6 s of processor instead of 0.8 (docs/scale.md).
DASK_TRIMS = ("MALLOC_TRIM_THRESHOLD_", "65536")
# Where glibc itself ends up if nobody tells it anything: parameters of mallopt(3), bytes.
TRIM_THRESHOLD, MMAP_THRESHOLD = (-1, 64 << 20), (-3, 32 << 20)

_lock = threading.Lock()
_inside = 0
_threads_before = 1
_blas_limit: Any = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's and BLAS' arithmetic on one thread while any tile or survey is at work, then restore both."""
    global _inside, _threads_before, _blas_limit  # noqa: PLW0603  # the counts of threads are global, so is their guard
    with _lock:
        # Asking makes a new thread take over the process' count, which would else undo what is set here.
        here = torch.get_num_threads()
        if _inside == 0:
            keep_freed()
            _threads_before = here
            _blas_limit = _blas().limit(limits=1, user_api="blas")
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            # Restored by the last to leave: another tile at work would change its last bits.
            if _inside == 0:
                torch.set_num_threads(_threads_before)
                _blas_limit.restore_original_limits()


@cache
def keep_freed() -> bool:
    """Let the C library keep what arrays free for the next ones, where dask told it not to; say whether it does."""
    name, value = DASK_TRIMS
    if os.environ.get(name) != value or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    # Only glibc has both the fault and the remedy.
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        return all(mallopt(*setting) == 1 for setting in (TRIM_THRESHOLD, MMAP_THRESHOLD))
    return False


@cache
def _blas() -> ThreadpoolController:
    """Return the loaded BLAS libraries; looking for them takes 2 ms, which a tile need not pay."""
    return ThreadpoolController()
