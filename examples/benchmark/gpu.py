"""A card against the CPU: correctness of every model, throughput of the networks, and a whole scene from disk to disk.

`gpu.sh` runs it. The tables are Markdown for docs/speed.md. A part that the time does not allow is left out, and says so.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import torch

from dualsr_geo import synthetic, upscale
from dualsr_geo.models.registry import model_names

HERE = Path(__file__).parent
# All parts together; the script promises 8 minutes.
BUDGET_S = 450.0
# Largest difference from the CPU's product, in ranges of the product: rounding of float32, and of the bfloat16 layers.
TOLERANCES = {"float32": 1e-4, "bfloat16": 1e-3}


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    checked, whole : (int, int, int)
        Bands, rows and columns of the scenes of the comparison and of the whole run, lr pixels.
    tiles, batches : tuple of int
        Sides of the networks' tiles, hr pixels, and tiles at once.
    pixels : int
        Hr pixels of all bands that a network computes in a turn.
    models : tuple of str
        Of the whole run.
    """

    checked: tuple[int, int, int]
    whole: tuple[int, int, int]
    tiles: tuple[int, ...]
    batches: tuple[int, ...]
    pixels: int
    models: tuple[str, ...]


FULL = Sizes((8, 96, 112), (8, 700, 700), (192, 384), (1, 2, 4, 8, 16), 4_000_000, ("auto", "learned", "regression"))
TINY = Sizes((4, 24, 28), (4, 24, 28), (32,), (1, 2), 5_000, ("regression",))


def difference(scene: Path, guide: Path, model: str, precision: str, device: str) -> float:
    """Return the largest difference between the products of a device and of the CPU, in ranges of the product."""
    products = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (place, kind) in enumerate((("cpu", "float32"), (device, precision))):
            output = Path(folder, f"{i}.tif")
            upscale(scene, output, rgb=guide, model=model, device=place, precision=kind, dtype="float32")
            with rasterio.open(output) as dataset:
                products.append(dataset.read().astype(np.float64))
    one, other = products
    return float(np.nanmax(np.abs(one - other)) / np.ptp(one[np.isfinite(one)]))


def is_correct(found: float, precision: str) -> bool:
    """Return whether a difference is within the tolerance; one that is no number is not."""
    return found <= TOLERANCES[precision]


def compare(device: str, sizes: Sizes, folder: Path, end: float) -> bool:
    """Print the differences of all models; return whether all are within the tolerance."""
    bands, *shape = sizes.checked
    scene, guide = synthetic.write(folder / "checked", shape=tuple(shape), bands=bands, ratio=4)
    print(f"\n## {device} against the CPU: {bands} bands, {shape[0]} x {shape[1]} lr pixels, x4\n")
    print("| model | precision | largest difference, ranges | tolerance | |\n|---|---|---|---|---|")
    correct = True
    for model, precision in _cases():
        if time.monotonic() > end:
            print(f"| {model} | {precision} | left out: no time | | |")
            correct = False
            continue
        found = difference(scene, guide, model, precision, device)
        within = is_correct(found, precision)
        correct = correct and within
        verdict = "correct" if within else "WRONG"
        print(f"| {model} | {precision} | {found:.2g} | {TOLERANCES[precision]:g} | {verdict} |", flush=True)
    return correct


def _cases() -> Iterator[tuple[str, str]]:
    for model in model_names():
        yield model, "float32"
        if model in ("auto", "learned"):
            yield model, "bfloat16"


def measure_networks(device: str, sizes: Sizes, end: float) -> None:
    """Print the throughput of the networks against the batch, and its share of the rate of plain convolutions."""
    print(
        "\n## Networks: `share` is that of plain convolutions of the same type and size; last column against the batch\n"
    )
    for batch in sizes.batches:
        command = [
            sys.executable,
            str(HERE / "networks.py"),
            "--device",
            device,
            "--batch",
            str(batch),
            "--repeat",
            "2",
        ]
        print(f"batch {batch}\n")
        _print_output([*command, "--pixels", str(sizes.pixels), "--sizes", *map(str, sizes.tiles)], end)


def measure_whole(device: str, sizes: Sizes, folder: Path, end: float) -> None:
    """Print the time of a whole scene from disk to disk, on the CPU and on the device."""
    bands, *shape = sizes.whole
    scene, guide = synthetic.write(folder / "whole", shape=tuple(shape), bands=bands, ratio=4)
    values = 16 * bands * shape[0] * shape[1]
    print(f"\n## Whole scene, {bands} bands, {values / bands / 1e6:.1f} Mpx, to COG\n")
    print("| model | device | wall, s | us per hr pixel and band |\n|---|---|---|---|")
    for model in sizes.models:
        for place in dict.fromkeys((device, "cpu")):
            command = [sys.executable, "-m", "dualsr_geo", "upscale", str(scene), "--rgb", str(guide), "--model", model]
            output = folder / f"{model}_{place}.tif"
            began = time.perf_counter()
            done = _run([*command, "--device", place, "-o", str(output), "--overwrite"], end)
            wall = time.perf_counter() - began
            row = "left out: no time | " if done is None else f"{wall:.2f} | {wall / values * 1e6:.3f}"
            print(f"| {model} | {place} | {row} |", flush=True)


def _print_output(command: list[str], end: float) -> None:
    done = _run(command, end)
    print("left out: no time\n" if done is None else f"```\n{done}```\n", flush=True)


def _run(command: list[str], end: float) -> str | None:
    """Return what a command prints; None if it does not end in time.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails.
    """
    remaining = end - time.monotonic()
    if remaining <= 0:
        return None
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=remaining)  # noqa: S603  # our own commands
    except subprocess.TimeoutExpired:
        return None
    return done.stdout


def machine(device: str) -> str:
    """Return the device, torch and the processor in one line."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return f"{name}; torch {torch.__version__}, Python {platform.python_version()}"


def main() -> int:
    """Measure and print; return the status of the process."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="scenes of some hundred pixels, to test the script")
    parser.add_argument("--budget", type=float, default=BUDGET_S, help="seconds for all parts")
    arguments = parser.parse_args()
    device, sizes = arguments.device, TINY if arguments.tiny else FULL
    if device == "cuda" and not torch.cuda.is_available():
        print("gpu.py: torch finds no card. Give --device cpu to run the same code on the CPU.", file=sys.stderr)
        return 2
    # A part may use what the earlier ones leave.
    start = time.monotonic()
    ends = [start + share * arguments.budget for share in (0.4, 0.7, 1.0)]
    print(machine(device))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        correct = compare(device, sizes, folder, ends[0])
        measure_networks(device, sizes, ends[1])
        measure_whole(device, sizes, folder, ends[2])
    print(f"\n{time.monotonic() - start:.0f} s in all")
    return 0 if correct else 1


if __name__ == "__main__":
    sys.exit(main())
