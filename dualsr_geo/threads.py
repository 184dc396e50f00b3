"""How many threads torch computes on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_lock = threading.Lock()
_inside = 0
_threads_before = 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch's arithmetic on one thread while any tile is at work, then restore it."""
    global _inside, _threads_before  # noqa: PLW0603  # torch's thread count is global, so is its guard
    with _lock:
        # Asking makes a new thread take over the process' count, which would else undo what is set here.
        here = torch.get_num_threads()
        if _inside == 0:
            _threads_before = here
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
