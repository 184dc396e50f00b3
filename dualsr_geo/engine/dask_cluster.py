"""A dask cluster: what its workers have, and a sliding window of tasks on them.

Retries, lost workers and lost results are dask's own business; what is here keeps few tasks
there at a time, and says in one line what dask says in many.
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

from dualsr_geo.engine.tile_size import WorkerCapacity
from dualsr_geo.errors import ClusterError, OptionError

if TYPE_CHECKING:
    from distributed import Client, Future

# How long the first worker may take to come: batch systems and Kubernetes start them when asked.
FIRST_WORKER_S = 600
# Tasks sent to each thread of a worker: one runs, one waits, so that no thread waits for the network.
TASKS_A_THREAD = 2
RETRIES = 2
# Of a worker's memory limit: dask pauses a worker at 80 % and kills it at 95 %.
WORKER_SHARE = 0.7
# How long a run waits when all workers have gone: whatever deploys them may start others.
LAST_WORKER_S = 600
# How long a run that fails waits for the tiles that have begun.
LAST_TILES_S = 300
GPU = "GPU"
Result = TypeVar("Result")


def cards(count: int) -> list[str]:
    """Return the names by which CUDA knows that many cards of this machine.

    Raises
    ------
    OptionError
        If there are fewer.
    """
    import torch  # noqa: PLC0415  # slow, and of no use without cards

    there = torch.cuda.device_count()
    if count > there:
        raise OptionError(
            f"--gpus {count} was asked for, but torch sees {there} cards here. "
            + (f"Give --gpus {there}." if there else "Leave it out, and --device cuda too.")
        )
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(i) for i in range(there)]
    return names[:count]


@contextmanager
def on_cards(names: Sequence[str]) -> Iterator[Client]:
    """Start a cluster on this machine, a process of one thread for each card; end it afterwards.

    Parameters
    ----------
    names : sequence of str
        As ``CUDA_VISIBLE_DEVICES`` has them.
    """
    from distributed import Client, Nanny, Scheduler, SpecCluster  # noqa: PLC0415

    def worker(card: str) -> dict[str, Any]:
        options = {"nthreads": 1, "resources": {GPU: 1}, "env": {"CUDA_VISIBLE_DEVICES": card}}
        return {"cls": Nanny, "options": options}

    # LocalCluster gives all workers one environment.
    here = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}}
    with SpecCluster({card: worker(card) for card in names}, here) as local, Client(local) as client:
        client.wait_for_workers(len(names), timeout=FIRST_WORKER_S)
        yield client


def worker_capacity(client: Client, device: str) -> WorkerCapacity:
    """Return what the smallest worker offers, after waiting for the first one.

    Parameters
    ----------
    client : distributed.Client
    device : str
        As `memory.device`; of an automatic choice cards are used where workers say that they have some.

    Raises
    ------
    OptionError
        If CUDA is asked for and no worker has the resource ``GPU``.
    ClusterError
        If no worker comes.
    """
    workers = _workers(client)
    cards = [w for w in workers if w["resources"].get(GPU)]
    if device == "cuda" and not cards:
        raise OptionError(
            f"--device cuda was asked for, but none of {len(workers)} workers has the resource {GPU}. "
            f"Start one worker a card with `--resources {GPU}=1`, or give --device cpu."
        )
    on_cards = bool(cards) and device != "cpu"
    used = cards if on_cards else workers
    # A card's worker runs no more tiles at once than it has cards.
    threads = max(int(min(w["nthreads"], w["resources"][GPU])) if on_cards else w["nthreads"] for w in used)
    limits = [w["memory_limit"] for w in used if w["memory_limit"]]
    return WorkerCapacity(
        max(1, threads), int(min(limits) * WORKER_SHARE) if limits else None, "cuda" if on_cards else "cpu"
    )


def _workers(client: Client) -> list[dict[str, Any]]:
    """Return what the scheduler knows of each worker."""
    try:
        client.wait_for_workers(1, timeout=FIRST_WORKER_S)
    except TimeoutError as error:
        raise ClusterError(
            f"No worker came to {_name(client)} within {FIRST_WORKER_S} s. Start some, e.g. with `dask worker`."
        ) from error
    found: dict[str, dict[str, Any]] = client.scheduler_info(n_workers=-1)["workers"]
    return list(found.values())


def run_once(client: Client, what: str, function: Callable[..., Result], *args: Any) -> Result:
    """Run one function on the cluster.

    Parameters
    ----------
    client : distributed.Client
    what : str
        What it makes, for errors.
    function, args
        Picklable; a repeated run does no harm.

    Raises
    ------
    ClusterError
        If it ends too many workers, or the cluster goes away.
    """
    name = f"dualsr-{what.replace(' ', '-')}-{uuid.uuid4().hex}"
    future = client.submit(function, *args, key=name, retries=RETRIES, pure=False)
    with _attended(client, lambda: [future]) as gone:
        made: Result = _result(client, future, f"The {what}", gone)
    return made


def run_spread(
    client: Client,
    function: Callable[[Any, int], Result],
    shared: Any,  # whatever the function takes
    indices: Iterable[int],
    named: Callable[[int], str],
    device: str,
) -> Iterator[Result]:
    """Run ``function(shared, index)`` for all indices, a few a thread at a time; yield as they finish.

    Parameters
    ----------
    client : distributed.Client
    function : callable
        Picklable; a repeated run does no harm.
    shared : object
        Sent to each worker once.
    indices : iterable of int
    named : callable
        What an index is called in errors.
    device : str
        On ``"cuda"`` a task takes a worker's resource ``GPU``.

    Raises
    ------
    ClusterError
        If one ends too many workers, or the cluster goes away.
    """
    from distributed import as_completed  # noqa: PLC0415  # only where a cluster is asked for

    # Keys of this run alone: a client returns what it still holds under an old one.
    run, resources = uuid.uuid4().hex, {GPU: 1} if device == "cuda" else None
    # A task like any other: where the worker that holds it dies, dask makes it anew.
    held = client.submit(_same, shared, key=f"dualsr-plan-{run}", pure=False)
    waiting = iter(indices)
    running: dict[Future[Any], int] = {}
    finished = as_completed()
    try:
        with _attended(client, lambda: list(running)) as gone:
            while True:
                for index in islice(waiting, max(0, _slots(client) - len(running))):
                    key = f"dualsr-tile-{run}-{index}"
                    future = client.submit(
                        function, held, index, key=key, retries=RETRIES, pure=False, resources=resources
                    )
                    running[future] = index
                    finished.add(future)
                if not running:
                    return
                for future in finished.next_batch():
                    yield _result(client, future, named(running.pop(future)), gone)
    finally:
        _let_finish(client, list(running))


def _same(value: Result) -> Result:
    return value


def _slots(client: Client) -> int:
    """Return how many tasks to keep there now: workers come and go."""
    try:
        threads: int = sum(client.nthreads().values())
    except (TimeoutError, OSError) as error:
        raise _gone(client) from error
    return TASKS_A_THREAD * max(1, threads)


@contextmanager
def _attended(client: Client, running: Callable[[], list[Future[Any]]]) -> Iterator[threading.Event]:
    """Give up what runs, and set an event, if no worker has been there for `LAST_WORKER_S`: dask would wait for ever."""
    gone, over = threading.Event(), threading.Event()

    def attend() -> None:
        seen = time.monotonic()
        while not over.wait(min(LAST_WORKER_S / 4, 10)):
            with suppress(TimeoutError, OSError, RuntimeError):
                if client.nthreads():
                    seen = time.monotonic()
                elif time.monotonic() - seen > LAST_WORKER_S:
                    gone.set()
                    client.cancel(running())
                    return

    attendant = threading.Thread(target=attend, name="attendant", daemon=True)
    attendant.start()
    try:
        yield gone
    finally:
        over.set()
        attendant.join()


def _let_finish(client: Client, running: list[Future[Any]]) -> None:
    """Wait for what has begun when a run fails, so that nothing writes after it."""
    from distributed import CancelledError, wait  # noqa: PLC0415

    if running and client.status == "running":
        with suppress(CancelledError, TimeoutError, OSError):
            wait(running, timeout=LAST_TILES_S)


def _result(client: Client, future: Any, what: str, gone: threading.Event) -> Any:  # distributed is not typed
    from distributed import CancelledError, KilledWorker  # noqa: PLC0415
    from distributed.comm.core import CommClosedError  # noqa: PLC0415

    try:
        return future.result()
    except KilledWorker as error:
        raise ClusterError(
            f"{what} ended {error.allowed_failures + 1} workers one after the other, the last one "
            f"{error.last_worker.address}; most likely it needs more memory than they have. Give workers with more "
            "memory, or a smaller --tile, and run again."
        ) from error
    except (CancelledError, CommClosedError) as error:
        raise (_deserted(client) if gone.is_set() else _gone(client)) from error


def _gone(client: Client) -> ClusterError:
    return ClusterError(
        f"The cluster {_name(client)} went away, or somebody cancelled its tasks. Run again with --resume "
        "to redo only what is missing."
    )


def _deserted(client: Client) -> ClusterError:
    return ClusterError(
        f"{_name(client)} has had no worker for {LAST_WORKER_S} s. Start some, and run again with --resume to redo only "
        "what is missing."
    )


def _name(client: Client) -> str:
    return str(client.scheduler.addr if client.scheduler is not None else "that was given")
