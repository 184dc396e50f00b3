"""Train the weights that come with the package, on the scenes that may be learned from.

Run: python examples/benchmark/ship.py alone|guided OUT.safetensors --steps N [--begin WEIGHTS] [--seed N] [--resume]

The scenes are read in place from `shared/data`; its README says which may be learned from and which validate.
Checkpoints are next to OUT in a folder of its stem with the suffix `.training`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import scenes
import skimage.data
import torch
from dead_leaves import dead_leaves
from numpy.typing import NDArray
from scenes import DATA, TRAINING, Floats, responses
from scipy.io import netcdf_file
from skimage.io import imread

from dualsr_geo.models import weights
from dualsr_geo.models.weights import read_tensors, sha256
from dualsr_geo.training.config import TrainingConfig
from dualsr_geo.training.registry import TRAINABLE_NETWORKS, TaskOptions
from dualsr_geo.training.task import PretrainedTask, TrainingTask
from dualsr_geo.training.tasks.guided_task import CONFIG as GUIDED_CONFIG
from dualsr_geo.training.tasks.guided_task import GuidedTask
from dualsr_geo.training.tasks.unguided_task import CONFIG as UNGUIDED_CONFIG
from dualsr_geo.training.tasks.unguided_task import UnguidedTask
from dualsr_geo.training.trainer import Callbacks, TrainingResult, train

HYPERSPECTRAL = ("samson", "moffett", "abu-airport-4", "hsitk")
MULTISPECTRAL = ("dsen2", "landsat")
VALIDATION = ("sponges", "thread_spools", "jasper", "sandiego", "enmap", "wv2", "sn6")
DEGRADATIONS = {
    "alone": "Gaussians of MTF gain 0.15 to 0.5, some unlike along y and x, some off centre, some given wrongly; MATLAB's "
    "bicubic; noise of 1 to 20 % on a fifth; ratios 2, 3, 4, 8",
    "guided": "Gaussians of MTF gain 0.12 to 0.5, some unlike along y and x, some off centre; MATLAB's bicubic; averages; "
    "half of the blurs estimated; noise of 0.4 to 15 % on a third; pan, camera and synthetic guides, soft, noisy, of 8 "
    "bits, after JPEG, displaced; textures with spectra of other scenes; ratios 2 to 8",
}
# Images of scikit-image, free of rights, whose textures are given spectra of the scenes; those after JPEG are halved.
PHOTOS = (
    "coffee.png", "astronaut.png", "gravel.png", "brick.png", "grass.png", "moon.png", "hubble_deep_field.jpg",
    "retina.jpg", "ihc.png", "rocket.jpg", "chelsea.png", "motorcycle_left.png", "coins.png", "camera.png",
)  # fmt: skip
# Synthetic textures: their number, side in pixels, and first seed.
LEAVES, LEAVES_SIDE_PX, LEAVES_SEED = 48, 416, 1000
S2 = "multispectral/dsen2_S2A_MSIL1C_20170527_T33UUB.mat"
S2_BANDS = ("blue", "green", "red", "nir", "swir1", "swir2")


def learned() -> dict[str, Floats]:
    """Return the scenes to learn from, (band, y, x) in 0..1."""
    names = [*(f"cave-{name}" for name in TRAINING), *HYPERSPECTRAL, *MULTISPECTRAL]
    cubes = {name: scenes.load(name).cube for name in names}
    fine, coarse = scenes.hdf5(S2, "im10"), scenes.hdf5(S2, "im20")
    halved = fine.reshape(4, 300, 2, 300, 2).mean((2, 4))
    cubes["dsen2-10"] = scenes.unit(fine)
    # In the order of their wavelengths; the 10 m bands averaged to 20 m.
    cubes["dsen2-both"] = scenes.unit(np.concatenate([halved[[2, 1, 0]], coarse[:3], halved[3:], coarse[3:]]))
    cubes["xrspatial"] = scenes.unit(np.stack([_netcdf(band) for band in S2_BANDS]))
    cubes["wv3"] = scenes.unit(np.concatenate([scenes.tif(f"fixtures/geoinf_SN2_WV03_{c}.tif")[:1] for c in "BGR"]))
    assert all(np.isfinite(cube).all() for cube in cubes.values())
    return {name: np.ascontiguousarray(cube) for name, cube in cubes.items()}


def _netcdf(band: str) -> NDArray[np.float32]:
    with netcdf_file(DATA / f"multispectral/xrspatial_s2_{band}.nc", mmap=False) as file:
        largest = max((v for v in file.variables.values() if len(v.shape) >= 2), key=lambda v: v.data.size)
        return np.squeeze(np.asarray(largest.data, np.float32))


def cameras(cubes: Mapping[str, Floats]) -> dict[str, Sequence[Floats]]:
    """Return the responses of real guides to the scenes whose wavelengths are known."""
    with_wavelengths = {name: scenes.load(name) for name in cubes if name in scenes.SCENES}
    return {
        name: [responses(scene, kind).astype(np.float32) for kind in ("rgb", "pan")]
        for name, scene in with_wavelengths.items()
        if scene.guide is None
    }


def textures() -> dict[str, Floats]:
    """Return images whose colours are replaced by spectra, (channel, y, x)."""
    images = {name: _photo(Path(skimage.data.__file__).with_name(name)) for name in PHOTOS}
    seeds = range(LEAVES_SEED, LEAVES_SEED + LEAVES)
    return images | {f"leaves-{seed}": dead_leaves(seed, LEAVES_SIDE_PX) for seed in seeds}


def _photo(path: Path) -> Floats:
    image = np.atleast_3d(np.asarray(imread(path), np.float32))[..., :3].transpose(2, 0, 1) / 255
    if path.suffix != ".jpg":
        return np.ascontiguousarray(image)
    height, width = (n // 2 for n in image.shape[1:])
    return image[:, : 2 * height, : 2 * width].reshape(len(image), height, 2, width, 2).mean((2, 4))


def training_task(arguments: argparse.Namespace) -> TrainingTask:
    """Return the training task of the network of the command line."""
    cubes = learned()
    held = {name: scenes.load(name) for name in VALIDATION}
    if arguments.network == "alone":
        return UnguidedTask(cubes, {n: np.ascontiguousarray(s.cube) for n, s in held.items()}, arguments.seed)
    pairs = {n: (s.cube, s.guide if s.guide is not None else scenes.guide(s, "pan")) for n, s in held.items()}
    some = {n: (cube, guide) for n, (cube, guide) in pairs.items() if guide is not None}
    own = scenes.load("dsen2")
    assert own.guide is not None
    return GuidedTask(
        cubes,
        cameras(cubes),
        some,
        arguments.seed,
        # Weights that a training starts from know the unusual scenes already.
        unusual_scenes=1,
        width=arguments.width,
        contexts=arguments.contexts,
        textures=textures() if arguments.simulated else {},
        pairs={"dsen2": (own.cube, own.guide)},
        simulated_share=arguments.simulated,
        clean_guides=arguments.clean_guides,
        workers=arguments.workers,
    )


def config_of(network: str, steps: int, rate: float | None, seed: int) -> TrainingConfig:
    """Return length, learning rate and optimiser of the training."""
    own = dict(UNGUIDED_CONFIG if network == "alone" else GUIDED_CONFIG)
    changed = {} if rate is None else {"rate": rate}
    return TrainingConfig(**{**own, "network": network, "steps": steps, "seed": seed, "validate_s": 600.0, **changed})


def kept(place: Path, arguments: argparse.Namespace, result: TrainingResult) -> None:
    """Write the weights with their card."""
    network, begin = arguments.network, arguments.begin
    note = {
        "scenes": sorted(learned()),
        "validation": VALIDATION,
        "degradations": DEGRADATIONS[network],
        "command": " ".join(["python examples/benchmark/ship.py", *sys.argv[1:]]),
        "steps": result.step,
        "minutes": round(result.seconds / 60, 1),
        "begun_with": None if begin is None else sha256(begin),
        "before": arguments.before,
        "scores": result.scores,
        "does_not_help": arguments.does_not_help,
        "config": result.config.to_json(),
        "torch": torch.__version__,
    }
    card = TRAINABLE_NETWORKS[network].card(TaskOptions())
    card = replace(card, source="examples/benchmark/ship.py", licence="Apache-2.0", note=json.dumps(note))
    weights.save(place, result.network.state_dict(), card, overwrite=True)


def main() -> None:
    """Train and write weights."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=("alone", "guided"))
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--rate", type=float, help="Learning rate at its highest.")
    parser.add_argument("--begin", help="Weights to begin with.")
    parser.add_argument("--seed", type=int, default=0)
    guided = parser.add_argument_group(
        "guided", "Of the guided network only; the defaults are those of the shipped weights."
    )
    guided.add_argument("--workers", type=int, default=1, help="Processes that make scenes.")
    guided.add_argument("--width", type=int, default=GuidedTask.width, help="Features.")
    guided.add_argument("--contexts", type=int, default=GuidedTask.contexts, help="Blocks that read all anchors.")
    guided.add_argument("--simulated", type=float, default=0.0, help="Share of scenes with spectra of another scene.")
    guided.add_argument("--clean-guides", action="store_true", help="Guides without defects.")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--before", default="", help="How the weights to begin with were made, for the card.")
    parser.add_argument("--does-not-help", default="", help="Where these weights do not help, for the card.")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = training_task(arguments)
    if arguments.begin is not None:
        task = PretrainedTask(task, read_tensors(arguments.begin))
    keep: Callable[[TrainingResult], None] = partial(kept, arguments.output, arguments)
    train(
        task,
        config_of(arguments.network, arguments.steps, arguments.rate, arguments.seed),
        arguments.output.with_name(f"{arguments.output.stem}.training"),
        resume=arguments.resume,
        callbacks=Callbacks(keep, partial(print, flush=True)),
    )


if __name__ == "__main__":
    main()
