"""What the machine has: cores, memory and devices."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

from dualsr_geo.errors import OptionError


def cores() -> int:
    """Return the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak() -> int:
    """Return the peak resident memory of this process, bytes."""
    # Linux carries ru_maxrss over from the process that started this one; VmHWM is our own.
    status = Path("/proc/self/status")
    if status.exists():
        line = next((v for v in status.read_text().splitlines() if v.startswith("VmHWM")), None)
        if line is not None:
            return int(line.split()[1]) * 1024
    # macOS counts in bytes, others in KiB.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def reset_peak() -> None:
    """Let `peak` begin anew, where the system allows it (Linux)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def device(asked: str) -> str:
    """Return the torch device to use.

    Raises
    ------
    OptionError
        If CUDA is asked for and there is none.
    """
    import torch  # noqa: PLC0415  # slow; the plan does not need it

    if asked not in ("auto", "cpu", "cuda"):
        raise OptionError(f"--device {asked} is not known. Give auto, cpu or cuda.")
    found = torch.cuda.is_available()
    if asked == "cuda" and not found:
        raise OptionError("--device cuda was asked for, but torch sees no GPU here. Give --device cpu.")
    return "cuda" if found and asked != "cpu" else "cpu"
