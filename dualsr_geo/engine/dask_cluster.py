"""A dask cluster: the capacity of its workers, and a sliding window of tasks on them.

Dask itself retries tasks and recomputes lost results. This module keeps few tasks on the cluster at
a time, and raises errors of one line.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from dualsr_geo._compat import closed_connection_type
from dualsr_geo.engine.tile_size import WorkerCapacity
from dualsr_geo.errors import ClusterError, OptionError

if TYPE_CHECKING:
    from distributed import Client, Future

# Timeout for the first worker, s: batch systems and Kubernetes start workers on demand.
FIRST_WORKER_S = 600
# Tasks sent to each thread of a worker: one runs, one waits, so that no thread waits for the network.
TASKS_PER_THREAD = 2
RETRIES = 2
# Share of a worker's memory limit that tiles may use: dask pauses a worker at 80 % and kills it at 95 %.
WORKER_MEMORY_SHARE = 0.7
# Timeout for another worker after the last one left, s: whatever deploys workers may start others.
NO_WORKER_S = 600
# Timeout for the running tiles of a failed run, s.
RUNNING_TILES_S = 300
GPU = "GPU"
Result = TypeVar("Result")


def cards(count: int) -> list[str]:
    """Return the CUDA names of that many cards of this machine.

    Raises
    ------
    OptionError
        If the machine has fewer.
    """
    import torch  # noqa: PLC0415  # slow, and needed only for cards

    available = torch.cuda.device_count()
    if count > available:
        raise OptionError(
            f"--gpus {count} needs {count} cards, but torch finds {available} here. "
            + (f"Give --gpus {available}." if available else "Leave it out, and --device cuda too.")
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(i) for i in range(available)]
    return names[:count]


@contextmanager
def on_cards(names: Sequence[str]) -> Iterator[Client]:
    """Start a cluster on this machine, a process of one thread for each card, and stop it afterwards.

    Parameters
    ----------
    names : sequence of str
        Cards, as in ``CUDA_VISIBLE_DEVICES``.
    """
    from distributed import Client, Nanny, Scheduler, SpecCluster  # noqa: PLC0415

    def worker(card: str) -> dict[str, Any]:
        options = {"nthreads": 1, "resources": {GPU: 1}, "env": {"CUDA_VISIBLE_DEVICES": card}}
        return {"cls": Nanny, "options": options}

    # LocalCluster gives all workers one environment.
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}}
    with SpecCluster({card: worker(card) for card in names}, scheduler) as cluster, Client(cluster) as client:
        client.wait_for_workers(len(names), timeout=FIRST_WORKER_S)
        yield client


def worker_capacity(client: Client, device: str) -> WorkerCapacity:
    """Wait for the first worker and return what every worker offers.

    Parameters
    ----------
    client : distributed.Client
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``; ``"auto"`` uses cards if a worker has the resource ``GPU``.

    Raises
    ------
    OptionError
        If `device` is ``"cuda"`` and no worker has the resource ``GPU``.
    ClusterError
        If no worker comes.
    """
    workers = _workers(client)
    with_cards = [w for w in workers if w["resources"].get(GPU)]
    if device == "cuda" and not with_cards:
        raise OptionError(
            f"--device cuda needs workers with the resource {GPU}, and none of {len(workers)} workers has it. "
            f"Start one worker a card with `--resources {GPU}=1`, or give --device cpu."
        )
    on_cards = bool(with_cards) and device != "cpu"
    used = with_cards if on_cards else workers
    # A card's worker runs no more tiles at once than it has cards.
    threads = max(int(min(w["nthreads"], w["resources"][GPU])) if on_cards else w["nthreads"] for w in used)
    limits = [w["memory_limit"] for w in used if w["memory_limit"]]
    memory = int(min(limits) * WORKER_MEMORY_SHARE) if limits else None
    return WorkerCapacity(max(1, threads), memory, "cuda" if on_cards else "cpu")


def _workers(client: Client) -> list[dict[str, Any]]:
    """Return the scheduler's record of each worker."""
    try:
        client.wait_for_workers(1, timeout=FIRST_WORKER_S)
    except TimeoutError as error:
        raise ClusterError(
            f"No worker came to {_name(client)} within {FIRST_WORKER_S} s. Start some, e.g. with `dask worker`."
        ) from error
    workers: dict[str, dict[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return list(workers.values())


def run_once(client: Client, what: str, function: Callable[..., Result], *args: Any) -> Result:
    """Run one function on the cluster.

    Parameters
    ----------
    client : distributed.Client
    what : str
        The result, for errors.
    function, args
        Picklable; may run more than once.

    Raises
    ------
    ClusterError
        If it kills too many workers, or the cluster goes away.
    """
    name = f"dualsr-{what.replace(' ', '-')}-{uuid.uuid4().hex}"
    future = client.submit(function, *args, key=name, retries=RETRIES, pure=False)
    with _watched(client, lambda: [future]) as no_worker:
        result: Result = _result(client, future, f"The {what}", no_worker)
    return result


def run_spread(
    client: Client,
    function: Callable[[Any, int], Result],
    shared: Any,  # whatever the function takes
    indices: Iterable[int],
    name_of: Callable[[int], str],
    device: str,
) -> Iterator[Result]:
    """Run ``function(shared, index)`` for all indices, a few a thread at a time; yield results as they finish.

    Parameters
    ----------
    client : distributed.Client
    function : callable
        Picklable; may run more than once for an index.
    shared : object
        Sent to each worker once.
    indices : iterable of int
    name_of : callable
        The name of an index in errors.
    device : str
        On ``"cuda"`` a task takes a worker's resource ``GPU``.

    Raises
    ------
    ClusterError
        If a task kills too many workers, or the cluster goes away.
    """
    from distributed import as_completed  # noqa: PLC0415  # slow, and needed only for clusters

    # Keys are new in each run, since a client returns the result that it still holds under an old key.
    run, resources = uuid.uuid4().hex, {GPU: 1} if device == "cuda" else None
    # A task, so that dask recomputes it if the worker that holds it dies.
    shared_future = client.submit(_identity, shared, key=f"dualsr-plan-{run}", pure=False)
    waiting = iter(indices)
    running: dict[Future[Any], int] = {}
    finished = as_completed()
    try:
        with _watched(client, lambda: list(running)) as no_worker:
            while True:
                for index in islice(waiting, max(0, _slots(client) - len(running))):
                    key = f"dualsr-tile-{run}-{index}"
                    future = client.submit(
                        function, shared_future, index, key=key, retries=RETRIES, pure=False, resources=resources
                    )
                    running[future] = index
                    finished.add(future)
                if not running:
                    return
                for future in finished.next_batch():
                    yield _result(client, future, name_of(running.pop(future)), no_worker)
    finally:
        _wait_for(client, list(running))


def _identity(value: Result) -> Result:
    return value


def _slots(client: Client) -> int:
    """Return how many tasks the present workers should have."""
    try:
        threads: int = sum(client.nthreads().values())
    except (TimeoutError, OSError) as error:
        raise _gone(client) from error
    return TASKS_PER_THREAD * max(1, threads)


@contextmanager
def _watched(client: Client, running: Callable[[], list[Future[Any]]]) -> Iterator[threading.Event]:
    """Cancel the running tasks, and set the event, after `NO_WORKER_S` without workers: dask itself waits for ever."""
    no_worker, finished = threading.Event(), threading.Event()

    def watch() -> None:
        last = time.monotonic()
        while not finished.wait(min(NO_WORKER_S / 4, 10)):
            with suppress(TimeoutError, OSError, RuntimeError):
                if client.nthreads():
                    last = time.monotonic()
                elif time.monotonic() - last > NO_WORKER_S:
                    no_worker.set()
                    client.cancel(running())
                    return

    watcher = threading.Thread(target=watch, name="watcher", daemon=True)
    watcher.start()
    try:
        yield no_worker
    finally:
        finished.set()
        watcher.join()


def _wait_for(client: Client, running: list[Future[Any]]) -> None:
    """Wait for the running tasks of a failed run, so that nothing is written after its error."""
    from distributed import CancelledError, wait  # noqa: PLC0415

    if running and client.status == "running":
        with suppress(CancelledError, TimeoutError, OSError):
            wait(running, timeout=RUNNING_TILES_S)


def _result(client: Client, future: Any, what: str, no_worker: threading.Event) -> Any:  # distributed is not typed
    """Return the result of a task; turn the errors of the cluster into ClusterError."""
    from distributed import CancelledError, KilledWorker  # noqa: PLC0415

    try:
        return future.result()
    except KilledWorker as error:
        raise ClusterError(
            f"{what} ended {error.allowed_failures + 1} workers one after the other, the last one "
            f"{error.last_worker.address}; most likely it needs more memory than they have. Give workers with more "
            "memory, or a smaller --tile, and run again."
        ) from error
    except (CancelledError, closed_connection_type()) as error:
        raise (_without_workers(client) if no_worker.is_set() else _gone(client)) from error


def _gone(client: Client) -> ClusterError:
    return ClusterError(
        f"The cluster {_name(client)} went away, or somebody cancelled its tasks. Run again with --resume "
        "to redo only what is missing."
    )


def _without_workers(client: Client) -> ClusterError:
    return ClusterError(
        f"{_name(client)} has had no worker for {NO_WORKER_S} s. Start some, and run again with --resume to redo only "
        "what is missing."
    )


def _name(client: Client) -> str:
    return str(client.scheduler.addr if client.scheduler is not None else "that was given")
