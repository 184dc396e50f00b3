"""Speed: the models against GDAL's pansharpening, in turn, in one run.

    python examples/benchmark/speed.py                                  # 8 bands, 16 Mpx, by pan
    python examples/benchmark/speed.py --bands 4 8 --megapixels 1 16 64
    python examples/benchmark/speed.py --bands 128 --guide rgb --megapixels 5.9 --formats COG Zarr
    python examples/benchmark/speed.py --stages                         # and where the time goes

Every command is a process of its own; the commands alternate, `--repeat` times. The table has the medians of wall and
processor time, the largest peak of memory, and ratios to GDAL's wall time. GDAL's VRT pansharpening (weighted
Brovey, cubic) writes a COG with the creation options of ours, on all cores; it takes a pan only. On a busy machine wall time
says little; processor time is then the better figure.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import speed_scenes
from speed_scenes import Pair

HERE = Path(__file__).parent
# Creation options of our COGs: dualsr_geo/io/writers/creation_options.py.
COG = {
    "COMPRESS": "ZSTD", "LEVEL": "1", "PREDICTOR": "STANDARD", "BLOCKSIZE": "512", "BIGTIFF": "IF_SAFER",
    "NUM_THREADS": "ALL_CPUS", "OVERVIEW_RESAMPLING": "AVERAGE",
}  # fmt: skip
GDAL = """
import sys, rasterio, rasterio.shutil
vrt, output, *options = sys.argv[1:]
with rasterio.Env(GDAL_NUM_THREADS="ALL_CPUS"):
    rasterio.shutil.copy(vrt, output, driver="COG", **dict(option.split("=") for option in options))
"""
VRT = """<VRTDataset subClass="VRTPansharpenedDataset"><PansharpeningOptions>
<Algorithm>WeightedBrovey</Algorithm><AlgorithmOptions><Weights>{weights}</Weights></AlgorithmOptions>
<Resampling>Cubic</Resampling><NumThreads>ALL_CPUS</NumThreads><BitDepth>16</BitDepth>
<PanchroBand><SourceFilename relativeToVRT="1">{pan}</SourceFilename><SourceBand>1</SourceBand></PanchroBand>
{bands}</PansharpeningOptions></VRTDataset>"""
BAND = """<SpectralBand dstBand="{i}"><SourceFilename relativeToVRT="1">{scene}</SourceFilename>\
<SourceBand>{i}</SourceBand></SpectralBand>"""


@dataclass(frozen=True)
class Cost:
    """What a process cost.

    Attributes
    ----------
    wall_s, processor_s : float
    peak_mib : float
        Largest resident memory.
    """

    wall_s: float
    processor_s: float
    peak_mib: float


@dataclass(frozen=True)
class Contender:
    """A command that makes a product of a pair."""

    name: str
    command: tuple[str, ...]
    product: Path


def contenders(pair: Pair, folder: Path, models: list[str], formats: list[str], kind: str) -> list[Contender]:
    """Return GDAL, where the guide is a pan, and each model in each format."""
    found = [_gdal(pair, folder)] if kind == "pan" else []
    for model in models:
        for name in formats:
            product = folder / f"{model}.{'zarr' if name == 'Zarr' else 'tif'}"
            command = _ours(pair, product, model, name)
            found.append(Contender(f"{model}, {name}", (sys.executable, "-m", "dualsr_geo", *command), product))
    return found


def _gdal(pair: Pair, folder: Path) -> Contender:
    bands = "\n".join(BAND.format(i=i + 1, scene=pair.scene.name) for i in range(pair.bands))
    weights = ",".join([str(1 / pair.bands)] * pair.bands)
    vrt, product = folder / "pansharpened.vrt", folder / "gdal.tif"
    vrt.write_text(VRT.format(weights=weights, pan=pair.guide.name, bands=bands))
    options = [f"{name}={value}" for name, value in COG.items()]
    return Contender("GDAL", (sys.executable, "-c", GDAL, str(vrt), str(product), *options), product)


def _ours(pair: Pair, product: Path, model: str, name: str) -> list[str]:
    places = [str(pair.scene), "--rgb", str(pair.guide), "-o", str(product)]
    return ["upscale", *places, "--model", model, "--format", name, "--scale", str(pair.ratio), "--overwrite"]


def cost_of(command: tuple[str, ...]) -> Cost:
    """Run a command to its end.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    began = time.perf_counter()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)  # noqa: S603  # our own commands
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        if process.returncode:
            errors.seek(0)
            raise RuntimeError(f"{' '.join(command[:8])}: {errors.read().decode()[-2000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def measured(found: list[Contender], repeat: int) -> dict[str, Cost]:
    """Run the contenders in turn, `repeat` times; return medians, and the largest peak."""
    runs: dict[str, list[Cost]] = {contender.name: [] for contender in found}
    for _ in range(repeat):
        for contender in found:
            runs[contender.name].append(cost_of(contender.command))
    return {name: _median(costs) for name, costs in runs.items()}


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.wall_s for cost in costs),
        statistics.median(cost.processor_s for cost in costs),
        max(cost.peak_mib for cost in costs),
    )


def print_table(pair: Pair, costs: dict[str, Cost], title: str) -> None:
    """Print a row for each contender."""
    values = pair.pixels * pair.bands
    gdal = costs.get("GDAL")
    print(f"\n{title}: {pair.bands} bands, {pair.pixels / 1e6:.1f} Mpx\n")
    print("| | wall, s | processor, s | us of processor per hr pixel and band | peak, MiB | wall / GDAL's |")
    print("|---|---|---|---|---|---|")
    for name, cost in costs.items():
        ratio = "" if gdal is None else f"{cost.wall_s / gdal.wall_s:.2f}"
        each = cost.processor_s / values * 1e6
        print(f"| {name} | {cost.wall_s:.2f} | {cost.processor_s:.2f} | {each:.3f} | {cost.peak_mib:.0f} | {ratio} |")


def print_stages(found: list[Contender], folder: Path) -> None:
    """Print processor seconds by stage of our contenders."""
    print("\n| | processor seconds by stage |\n|---|---|")
    for contender in found:
        if contender.name == "GDAL":
            continue
        output = folder / "stages.json"
        arguments = contender.command[3:]
        cost_of((sys.executable, str(HERE / "stages.py"), str(output), *arguments))
        stages = json.loads(output.read_text())
        print(f"| {contender.name} | {', '.join(f'{stage} {seconds:.2f}' for stage, seconds in stages.items())} |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bands", type=int, nargs="+", default=[8], choices=sorted(speed_scenes.SOURCES))
    parser.add_argument("--guide", nargs="+", default=["pan"], choices=["pan", "rgb"])
    parser.add_argument("--megapixels", type=float, nargs="+", default=[16.0], help="of the product, of one band")
    parser.add_argument("--models", nargs="+", default=["brovey", "regression", "auto"])
    parser.add_argument("--formats", nargs="+", default=["COG"], choices=["COG", "Zarr"])
    parser.add_argument("--ratio", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--stages", action="store_true", help="print where the time goes, too")
    arguments = parser.parse_args()
    for bands in arguments.bands:
        for kind in arguments.guide:
            for megapixels in arguments.megapixels:
                with tempfile.TemporaryDirectory() as name:
                    folder = Path(name)
                    pair = speed_scenes.write_pair(folder, bands, kind, megapixels, arguments.ratio)
                    found = contenders(pair, folder, arguments.models, arguments.formats, kind)
                    print_table(pair, measured(found, arguments.repeat), f"By {kind}, x{arguments.ratio}")
                    if arguments.stages:
                        print_stages(found, folder)


if __name__ == "__main__":
    main()
