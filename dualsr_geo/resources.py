"""The resources of the machine: cores, memory and devices."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

from dualsr_geo.errors import OptionError


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak() -> int:
    """Return the peak resident memory of this process, bytes."""
    # On Linux ru_maxrss includes the peak of the parent process; VmHWM does not.
    status = Path("/proc/self/status")
    if status.exists():
        line = next((v for v in status.read_text().splitlines() if v.startswith("VmHWM")), None)
        if line is not None:
            return int(line.split()[1]) * 1024
    # ru_maxrss is in bytes on macOS, and in KiB elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak() -> None:
    """Reset the value of `peak`; only Linux supports this."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def device(name: str) -> str:
    """Return the torch device of an option: ``"cpu"`` or ``"cuda"``.

    Parameters
    ----------
    name : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.

    Raises
    ------
    OptionError
        If the name is unknown, or CUDA is not available.
    """
    import torch  # noqa: PLC0415  # takes seconds; not every caller of this module needs it

    if name not in ("auto", "cpu", "cuda"):
        raise OptionError(f"--device {name} is unknown. Give auto, cpu or cuda.")
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise OptionError("--device cuda needs a GPU, and torch finds none. Give --device cpu.")
    return "cuda" if has_cuda and name != "cpu" else "cpu"
