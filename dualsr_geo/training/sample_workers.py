"""Samples that worker processes make while the training computes its steps."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")

# What makes samples, in a worker process.
_makers: list[Callable[[int], Any]] = []


class SampleWorkers(Generic[T]):
    """Makes samples by their numbers, in advance.

    A sample depends on its number only, so the number of workers changes no result.

    Parameters
    ----------
    make : callable
        From the number of a sample to the sample; both can be pickled.
    workers : int
        Number of processes; 0 makes each sample in this process when it is needed.
    ahead : int
        Number of samples that are made in advance.
    """

    def __init__(self, make: Callable[[int], T], workers: int, ahead: int) -> None:
        self.make, self.ahead = make, ahead
        self._futures: dict[int, Future[T]] = {}
        self._processes = None
        if workers:
            spawn = multiprocessing.get_context("spawn")
            self._processes = ProcessPoolExecutor(workers, spawn, initializer=_begin, initargs=(make,))

    def sample(self, number: int) -> T:
        """Return a sample, and have the following ones made."""
        if self._processes is None:
            return self.make(number)
        for wanted in range(number, number + self.ahead + 1):
            if wanted not in self._futures:
                self._futures[wanted] = self._processes.submit(_make, wanted)
        sample = self._futures.pop(number).result()
        for old in [n for n in self._futures if n < number]:
            self._futures.pop(old).cancel()
        return sample

    def close(self) -> None:
        """End the processes; samples that they were to make are not made."""
        if self._processes is not None:
            self._processes.shutdown(cancel_futures=True)


def _begin(make: Callable[[int], Any]) -> None:
    torch.set_num_threads(1)
    _makers[:] = [make]


def _make(number: int) -> Any:
    return _makers[0](number)
