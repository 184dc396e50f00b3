"""Limit the threads of torch and BLAS, keep float32 convolutions exact on a card, and keep freed memory for reuse."""

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

# The setting of dask's nanny for the C library of its workers (`distributed.nanny.pre-spawn-environ`): return freed
# memory to the system. Each array then allocates new pages, and a tile takes 1.6 s of processor time instead of 0.8 s
# (docs/scale.md).
DASK_TRIM_SETTING = ("MALLOC_TRIM_THRESHOLD_", "65536")
# The values that glibc reaches by default: parameter and value of mallopt(3), bytes.
TRIM_THRESHOLD, MMAP_THRESHOLD = (-1, 64 << 20), (-3, 32 << 20)

# Heaps of the C library for all threads; by default it makes eight per core, and each keeps what its threads freed. Two
# tiles of `auto` at once take 5 % less memory, and no more time.
MAX_HEAPS = (-8, 2)

_lock = threading.Lock()
_open_blocks = 0
_threads_before = 1
_blas_limit: Any = None
_tf32_before = False


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch and BLAS on one thread until the last of the open blocks ends, then restore their numbers of threads.

    Meanwhile a card computes convolutions of float32 in float32. By default torch rounds their factors to TF32, whose 10 bits
    leave errors of 1e-3.
    """
    global _open_blocks, _threads_before, _blas_limit, _tf32_before  # noqa: PLW0603  # the settings are global
    with _lock:
        # The first call in a new thread copies the number of the process, which would otherwise undo the limit later.
        threads = torch.get_num_threads()
        if _open_blocks == 0:
            keep_freed()
            _threads_before = threads
            _blas_limit = _blas().limit(limits=1, user_api="blas")
            _tf32_before = torch.backends.cudnn.allow_tf32
            torch.backends.cudnn.allow_tf32 = False
        _open_blocks += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _open_blocks -= 1
            # A change while another tile runs would change the last bits of that tile.
            if _open_blocks == 0:
                torch.set_num_threads(_threads_before)
                _blas_limit.restore_original_limits()
                torch.backends.cudnn.allow_tf32 = _tf32_before


@cache
def keep_freed() -> bool:
    """Let the C library keep freed memory where dask has set it not to; return whether it was changed."""
    name, value = DASK_TRIM_SETTING
    if os.environ.get(name) != value or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    # Only glibc has mallopt.
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        return all(mallopt(*setting) == 1 for setting in (TRIM_THRESHOLD, MMAP_THRESHOLD))
    return False


def return_freed() -> None:
    """Return the memory that is free to the system, and use two heaps from now on; for the end of a stage.

    The survey allocates many small arrays, tiles a few large ones: tiles can hardly reuse what the survey freed.
    """
    # Only glibc has them.
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(*MAX_HEAPS)
        library.malloc_trim(0)


@cache
def _blas() -> ThreadpoolController:
    """Return the loaded BLAS libraries; the search takes 2 ms, which is too long for each tile."""
    return ThreadpoolController()
