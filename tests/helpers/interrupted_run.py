"""Runs that are killed at a moment that a number chooses, in processes that begin with everything imported."""

import contextlib
import multiprocessing
import os
import signal
import time
from pathlib import Path

OPTIONS = {"scale": 2, "tile": 8, "jobs": 1, "model": "regression"}
# Calls by which a run changes files; it is killed before one of them, or after it.
CALLS = ("replace", "unlink", "rmdir", "mkdir", "fsync")

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["interrupted_run", "dualsr_geo.engine.upscale", "dualsr_geo.batching.run"])


def sharpen(scene, output, **options):
    """Sharpen a scene as `dualsr-geo upscale` does."""
    import dualsr_geo

    return dualsr_geo.upscale(scene, output, **{**OPTIONS, **options})


def sharpen_all(folder, output, **options):
    """Sharpen the scenes of a folder as `dualsr-geo batch` does; return their statuses."""
    from dualsr_geo.batching.run import run
    from dualsr_geo.batching.tasks import Batch
    from dualsr_geo.engine.options import Options

    return [r.status for r in run([str(folder)], Batch(Path(output), options=Options(**{**OPTIONS, **options})))]


def count_calls(action, *args, **options):
    """Return the number of calls of an undisturbed run."""
    receiver, sender = _context.Pipe(duplex=False)
    process = _context.Process(target=_counted, args=(sender, action, args, options))
    process.start()
    count = receiver.recv()
    process.join()
    return count


def kill_at_call(call, action, *args, **options):
    """Run in a process that kills itself at one of its calls: before it, or after it where `call` is a half more."""
    return _exit_code(_context.Process(target=_killed, args=(call, action, args, options)))


def kill_before_publishing(action, scene, output, **options):
    """Run in a process that kills itself before a file or folder gets the name of the output."""
    return _exit_code(_context.Process(target=_killed_before, args=(action, scene, output, options)))


def run_at_once(runs, environment):
    """Begin several runs at one moment; return the message of the error of each, empty for none."""
    barrier, pipes, processes = _context.Barrier(len(runs)), [], []
    for args, options in runs:
        receiver, sender = _context.Pipe(duplex=False)
        processes.append(_context.Process(target=_reported, args=(sender, barrier, environment, args, options)))
        processes[-1].start()
        pipes.append(receiver)
    messages = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    return messages


@contextlib.contextmanager
def held(scene, output, **options):
    """Run in a process that waits after its first tile; yield it, and a function that lets it end and returns its error."""
    ours, theirs = _context.Pipe()
    process = _context.Process(target=_waiting, args=(theirs, dict(os.environ), (scene, output), options))
    process.start()

    def go_on():
        ours.send("go on")
        return ours.recv()

    try:
        assert ours.recv() == "tile"
        yield process, go_on
    finally:
        process.kill()
        process.join()


def kill_after(seconds, action, *args, **options):
    """Run in a process that is killed after a time."""
    return _exit_code(_context.Process(target=_plain, args=(action, args, options)), seconds)


def _exit_code(process, seconds=None):
    process.start()
    if seconds is not None:
        time.sleep(seconds)
        process.kill()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


def _plain(action, args, options):
    globals()[action](*args, **options)


def _killed(call, action, args, options):
    _watch(lambda count, after, _arguments: os.kill(os.getpid(), signal.SIGKILL) if count + after / 2 >= call else None)
    _plain(action, args, options)


def _killed_before(action, scene, output, options):
    def tell(_count, _after, arguments):
        if len(arguments) == 2 and str(arguments[1]) == output:
            os.kill(os.getpid(), signal.SIGKILL)

    _watch(tell)
    _plain(action, (scene, output), options)


def _waiting(connection, environment, args, options):
    os.environ.clear()
    os.environ.update(environment)

    def progress(done, _total):
        if done == 1:
            connection.send("tile")
            connection.recv()

    message = ""
    try:
        sharpen(*args, progress=progress, **options)
    except Exception as error:  # noqa: BLE001  # the test reads it
        message = f"{type(error).__name__}: {error}"
    connection.send(message)


def _reported(sender, barrier, environment, args, options):
    os.environ.clear()
    os.environ.update(environment)
    message = ""
    barrier.wait(120)
    try:
        sharpen(*args, progress=lambda _done, _total: time.sleep(0.02), **options)
    except Exception as error:  # noqa: BLE001  # the test reads it
        message = f"{type(error).__name__}: {error}"
    sender.send(message)


def _counted(sender, action, args, options):
    counts = []
    _watch(lambda count, _after, _arguments: counts.append(count))
    _plain(action, args, options)
    sender.send(max(counts) + 1)


def _watch(tell):
    """Tell the number of a call before and after it."""
    count = -1

    def watched(function):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            number = count
            tell(number, 0, args)
            try:
                return function(*args, **kwargs)
            finally:
                tell(number, 1, args)

        return call

    for name in CALLS:
        setattr(os, name, watched(getattr(os, name)))
