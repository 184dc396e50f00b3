"""What the benchmark's figures depend on besides the scenes: the commit, the versions, the machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import dualsr_geo

# The file next to the tables that has the environment of their runs.
NAME = "environment.json"
PACKAGES = ("numpy", "scipy", "scikit-image", "torch", "rasterio", "xarray")
ROOT = Path(__file__).resolve().parents[2]

Environment = Mapping[str, str]


def current() -> Environment:
    """Return commit, versions and machine of this process."""
    packages = {name: version(name) for name in PACKAGES}
    own = {"dualsr-geo": dualsr_geo.__version__, "commit": commit(), "python": platform.python_version()}
    return {**own, **packages, "processor": processor(), "cores": str(os.cpu_count())}


def commit() -> str:
    """Return the commit of the checkout, with a remark where files of the package or of this folder differ from it."""
    head = _git("rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    changed = _git("status", "--porcelain", "--untracked-files=no", "dualsr_geo", "examples/benchmark/*.py")
    return f"{head} with changes" if changed else head


def processor() -> str:
    """Return the model of the processor."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def read(folder: Path) -> Environment | None:
    """Return the environment of the tables in a folder; None where it is not known."""
    path = folder / NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write(folder: Path, environment: Environment) -> None:
    """Write the environment of the tables in a folder."""
    (folder / NAME).write_text(json.dumps(environment, indent=1) + "\n", encoding="utf-8")


def differing(one: Environment, other: Environment) -> list[str]:
    """Return what differs between two environments that decides scores: all but the machine."""
    names = [name for name in {**one, **other} if name not in ("processor", "cores")]
    return [f"{name} {one.get(name)} and {other.get(name)}" for name in names if one.get(name) != other.get(name)]


def sentence(environment: Environment) -> str:
    """Return an environment as a sentence of the page."""
    packages = ", ".join(f"{name} {environment[name]}" for name in ("python", *PACKAGES) if name in environment)
    return (
        f"Commit {environment['commit']}; {packages}; {environment['processor']}, {environment['cores']} cores, "
        "one thread a run."
    )


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603, S607  # fixed words
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
