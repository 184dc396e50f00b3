"""How many threads torch and BLAS compute on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import scipy.linalg  # noqa: F401  # brings its own BLAS, which is limited below
import torch
from threadpoolctl import ThreadpoolController

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
def _blas() -> ThreadpoolController:
    """Return the loaded BLAS libraries; looking for them takes 2 ms, which a tile need not pay."""
    return ThreadpoolController()
