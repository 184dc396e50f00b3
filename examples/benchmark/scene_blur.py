"""Train and measure the estimate of a scene's blur from the scene (`dualsr_geo.registration.scene_blur`).

Run: python examples/benchmark/scene_blur.py train OUT.safetensors [--crops 150] [--without SCENE ...]
     python examples/benchmark/scene_blur.py measure [--weights FILE] [--scenes ...] [--scales 2 4 8] [--noise 0 3]

A training takes a quarter of an hour of one core. It reads the scenes of `ship.learned` and synthetic ones.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import scenes
import torch
from blurs import BLURS, Kernel, averaged, box, cubic, gaussian, lanczos, linear, nearest, reduced, stretched, triangle
from dead_leaves import dead_leaves
from degradations import Floats, Matrix, keys
from safetensors.numpy import save
from scipy.ndimage import gaussian_filter
from ship import VALIDATION, learned
from torch import Tensor, nn

from dualsr_geo.registration.scene_blur.estimate import (
    estimate_scene_blur,
    gain_of,
    regressor_inputs,
    width_of,
)
from dualsr_geo.registration.scene_blur.features import plane_features
from dualsr_geo.registration.scene_blur.planes import component_planes
from dualsr_geo.registration.scene_blur.regressors import FREQUENCIES, load_regressors

RATIOS = (2, 3, 4, 6, 8)
# Sides of the crops, lr pixels; the least correlation of neighbouring pixels that is learned from.
SIDES_LR = (20, 128)
MIN_CORRELATION = 0.3
MAX_BANDS = 10
# The gain of kernels without antialiasing is taken as this: no Gaussian has a gain of 1 and more.
LARGEST_GAIN = 0.98
SYNTHETIC = 10
NETS, HIDDEN = 3, 64


# ---- samples -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Samples:
    """Described components of reduced crops.

    Attributes
    ----------
    inputs : array, shape (sample, input)
    transfer : array, shape (sample, frequency)
    widths : array, shape (sample,)
        lr pixels.
    """

    inputs: Floats
    transfer: Floats
    widths: Floats


def random_kernel(ratio: int, rng: np.random.Generator) -> Kernel:
    """Return a blur of the families that reductions and sensors have."""
    draw = rng.uniform()
    width = rng.uniform(0.15, 0.8)
    families: tuple[tuple[float, Callable[[], Kernel]], ...] = (
        (0.44, lambda: gaussian(ratio, width)),
        (0.56, lambda: averaged(ratio, rng.uniform(0, 0.5))),
        (0.66, lambda: box(ratio)),
        (0.78, lambda: stretched(ratio)),
        (0.84, lambda: lanczos(ratio)),
        (0.87, lambda: stretched(ratio, -0.75)),
        (0.90, lambda: cubic(ratio)),
        (0.93, lambda: nearest(ratio)),
        (0.945, lambda: linear(ratio)),
        (0.96, lambda: triangle(ratio)),
        (1.0, lambda: resampled(gaussian(ratio, rng.uniform(0.15, 0.6)), rng.uniform(0.1, 0.5))),
    )
    chosen: Callable[[], Kernel] = next(make for limit, make in families if draw < limit)
    return chosen()


def resampled(kernel: Kernel, shift_lr: float) -> Kernel:
    """Return a blur whose lr pixels are then moved by cubic convolution, as in products on a map's grid."""
    at = np.arange(-1, 3)
    return kernel.then(keys(shift_lr - at, -0.5), -1)


def targets(kernel: Kernel) -> tuple[Matrix, float]:
    """Return transfer function at `FREQUENCIES`, 0 beyond the hr Nyquist frequency, and width in lr pixels."""
    f = np.array(FREQUENCIES)
    transfer = np.where(f <= kernel.ratio / 2, kernel.transfer(f), 0.0)
    gain = float(kernel.transfer(np.array([0.5]))[0])
    return transfer, width_of(min(max(gain, 1e-3), LARGEST_GAIN))


def crop(cube: Floats, ratio: int, rng: np.random.Generator) -> Floats:
    """Return a part of a scene in some of its bands, turned."""
    largest = min(SIDES_LR[1], *(n // ratio for n in cube.shape[1:]))
    side = largest if rng.uniform() < 0.4 else int(np.exp(rng.uniform(np.log(SIDES_LR[0]), np.log(largest + 0.99))))
    y, x = (int(rng.integers(0, n - side * ratio + 1)) for n in cube.shape[1:])
    count = min(len(cube), int(rng.choice([1, 3, 4, 8, MAX_BANDS, MAX_BANDS])))
    bands = np.sort(rng.choice(len(cube), count, replace=False))
    part = cube[bands][:, y : y + side * ratio, x : x + side * ratio]
    part = part.transpose(0, 2, 1) if rng.uniform() < 0.5 else part
    return np.ascontiguousarray(part[:, :: int(rng.choice([1, -1])), :: int(rng.choice([1, -1]))])


def defocused(cube: Floats, rng: np.random.Generator) -> Floats:
    """Return a scene that is out of focus, mostly in one part."""
    sigma = rng.uniform(0.4, 2.5)
    soft: Floats = gaussian_filter(cube, (0, sigma, sigma))
    if rng.uniform() < 0.3:
        return soft
    plane = gaussian_filter(rng.normal(size=cube.shape[1:]), max(cube.shape) / 8)
    limit = np.quantile(plane, rng.uniform(0.2, 0.8))
    share = 1 / (1 + np.exp(-(plane - limit) / (0.1 * plane.std())))
    mixed: Floats = (share * soft + (1 - share) * cube).astype(np.float32)
    return mixed


def disturbed(lr: Floats, rng: np.random.Generator) -> Floats:
    """Return a reduced scene with noise, and stored in few levels, each in some cases."""
    span = float(lr.max() - lr.min())
    out = lr.astype(np.float64)
    if rng.uniform() < 0.5:
        out += span * rng.uniform(0.3, 5) / 255 * rng.normal(size=lr.shape)
    if rng.uniform() < 0.3:
        step = max(span / 2 ** rng.uniform(6, 11), 1e-12)
        out = np.round(out / step) * step
    stored: Floats = out.astype(np.float32)
    return stored


def samples_of(cube: Floats, count: int, seed: int) -> Samples:
    """Return the samples of one scene."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[Floats, Matrix, float]] = []
    ratios = [r for r in RATIOS if min(cube.shape[1:]) // r >= SIDES_LR[0]]
    for _ in range(count if ratios else 0):
        ratio = int(rng.choice(ratios))
        part = crop(cube, ratio, rng)
        part = defocused(part, rng) if rng.uniform() < 0.3 else part
        kernel = random_kernel(ratio, rng)
        lr = disturbed(reduced(part, kernel, kernel), rng)
        rows.extend((x, *targets(kernel)) for x in described(lr, ratio))
    inputs, transfer, widths = zip(*rows, strict=True) if rows else ([], [], [])
    return Samples(*(np.array(v, np.float32) for v in (inputs, transfer, widths)))


def described(lr: Floats, ratio: int) -> Iterator[Floats]:
    """Yield the inputs of each component of a scene, but for scenes that are not estimated."""
    for component in component_planes([lr], [np.ones(lr.shape[1:], np.float32)]):
        features = plane_features(component.planes)
        if features is None or (component.index == 0 and features.correlation < MIN_CORRELATION):
            return
        yield regressor_inputs(component, features, ratio)


def training_scenes(without: Sequence[str] = ()) -> dict[str, Floats]:
    """Return the scenes to learn from, (band, y, x)."""
    real = {name: cube for name, cube in learned().items() if name not in without}
    return {**real, **{f"leaves-{i}": dead_leaves(i) for i in range(SYNTHETIC)}}


def drawn(name: str, cube: Floats, crops: int, cache: Path | None) -> Samples:
    """Return the samples of a scene, from a cache where it has them."""
    place = None if cache is None else cache / f"{name}-{crops}.npz"
    if place is not None and place.exists():
        with np.load(place) as file:
            return Samples(file["inputs"], file["transfer"], file["widths"])
    found = samples_of(cube, crops, sum(map(ord, name)))
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, inputs=found.inputs, transfer=found.transfer, widths=found.widths)
    return found


# ---- training ----------------------------------------------------------------------------


def perceptron(inputs: int) -> nn.Sequential:
    """Return one net."""
    outputs = len(FREQUENCIES) + 2
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN), nn.SiLU(), nn.Dropout(0.1), nn.Linear(HIDDEN, HIDDEN), nn.SiLU(), nn.Dropout(0.1),
        nn.Linear(HIDDEN, outputs),
    )  # fmt: skip


def loss_of(out: Tensor, transfer: Tensor, width: Tensor) -> Tensor:
    """Return the loss: error of the transfer function, and likelihood of the width."""
    count = len(FREQUENCIES)
    weight = torch.tensor([1.0 if f < 0.8 else 0.3 for f in FREQUENCIES])
    shape = nn.functional.smooth_l1_loss(out[:, :count], transfer, beta=0.1, reduction="none") * weight
    log_error = out[:, count + 1].clamp(-4, 0)
    likelihood = 0.5 * ((out[:, count] - width) / log_error.exp()).square() + log_error
    return 20 * shape.mean() + 0.3 * likelihood.clamp(max=8).mean()


def fitted(samples: Samples, seed: int, epochs: int = 18, batch: int = 128) -> nn.Sequential:
    """Return a trained net of standardised inputs."""
    torch.manual_seed(seed)
    data = [torch.from_numpy(v) for v in (samples.inputs, samples.transfer, samples.widths)]
    net = perceptron(samples.inputs.shape[1])
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.02)
    steps = epochs * (len(data[0]) // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(epochs):
        order = torch.randperm(len(data[0]))
        for i in range(len(order) // batch):
            x, transfer, width = (v[order[i * batch : (i + 1) * batch]] for v in data)
            loss = loss_of(net(x + 0.05 * torch.randn_like(x)), transfer, width)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return net.eval()


def trained(samples: Samples) -> dict[str, Floats]:
    """Return the tensors of the regressors."""
    mean, std = samples.inputs.mean(0), samples.inputs.std(0) + 1e-3
    scaled = Samples(np.clip((samples.inputs - mean) / std, -5, 5), samples.transfer, samples.widths)
    nets = [fitted(scaled, seed) for seed in range(NETS)]
    out: dict[str, Floats] = {"mean": mean, "std": std}
    for i, at in enumerate((0, 3, 6)):
        layers = [cast("nn.Linear", net[at]) for net in nets]
        out[f"weight{i}"] = np.stack([layer.weight.detach().numpy().T for layer in layers])
        out[f"bias{i}"] = np.stack([layer.bias.detach().numpy()[None] for layer in layers])
    return {name: np.ascontiguousarray(v, np.float32) for name, v in out.items()}


def train(place: Path, crops: int, without: Sequence[str], cache: Path | None) -> None:
    """Train the regressors and write them with their card."""
    cubes = training_scenes(without)
    parts = []
    for name, cube in cubes.items():
        parts.append(drawn(name, cube, crops, cache))
        print(name, len(parts[-1].widths), flush=True)
    parts = [p for p in parts if len(p.widths)]
    together = Samples(*(np.concatenate([getattr(p, k) for p in parts]) for k in ("inputs", "transfer", "widths")))
    card = {
        "network": "scene-blur",
        "source": "examples/benchmark/scene_blur.py",
        "licence": "Apache-2.0",
        "scenes": sorted(cubes),
        "validation": list(VALIDATION),
        "samples": len(together.widths),
        "command": " ".join(["python examples/benchmark/scene_blur.py", *sys.argv[1:]]),
        "torch": torch.__version__,
    }
    place.write_bytes(save(trained(together), metadata={"dualsr-geo": json.dumps(card, sort_keys=True)}))


# ---- measuring ---------------------------------------------------------------------------


def measured(
    names: Sequence[str], scales: Sequence[int], noises: Sequence[float], weights: Path | None
) -> Iterator[dict[str, Any]]:
    """Yield true and estimated widths of scenes, blurs, ratios and levels of noise."""
    regressors = None if weights is None else load_regressors(weights)
    for name in names:
        whole = scenes.load(name).cube
        for ratio in scales:
            cube = scenes.cut(scenes.load(name), ratio).cube if min(whole.shape[1:]) >= ratio * SIDES_LR[0] else None
            if cube is None:
                continue
            for blur, make in BLURS.items():
                kernel = make(ratio)
                clean = reduced(cube, kernel, kernel)
                for noise in noises:
                    rng = np.random.default_rng(0)
                    lr = (clean + noise / 255 * rng.normal(size=clean.shape)).astype(np.float32)
                    found = estimate_scene_blur([lr], [np.ones(lr.shape[1:], np.float32)], ratio, regressors)
                    yield {"scene": name, "scale": ratio, "blur": blur, "noise": noise, "true": targets(kernel)[1],
                           "found": found}  # fmt: skip


def table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield bias and spread of the estimated widths by blur, then by scene."""
    yield "| blur, scale, noise | true gain | gain: 10, 50, 90 % | width: bias / sd / z | none |"
    yield "|---|---|---|---|---|"
    keys_of = ("blur", "scale", "noise")
    for key in dict.fromkeys(tuple(r[k] for k in keys_of) for r in rows):
        some = [r for r in rows if tuple(r[k] for k in keys_of) == key]
        yield f"| {', '.join(map(str, key))} | {gain_of(some[0]['true']):.2f} | {_line(some)} |"
    for key in dict.fromkeys((r["scene"], r["scale"]) for r in rows):
        some = [r for r in rows if (r["scene"], r["scale"]) == key and r["blur"] not in ("nearest", "cv2")]
        yield f"| {key[0]}, {key[1]} | | {_line(some)} |"


def _line(rows: Sequence[Mapping[str, Any]]) -> str:
    estimated = [r for r in rows if r["found"] is not None]
    errors = np.array([r["found"].width_lr - r["true"] for r in estimated])
    stated = np.array([r["found"].error_lr for r in estimated])
    low, middle, high = np.percentile([r["found"].gain for r in estimated], (10, 50, 90)) if estimated else [np.nan] * 3
    z = np.sqrt(np.mean((errors / stated) ** 2)) if estimated else np.nan
    narrow = [r["found"].narrow_lr - r["true"] for r in estimated if r["found"].narrow_lr is not None]
    q10 = f"; q10 {np.mean(narrow):+.3f} / {np.std(narrow):.3f} / {np.max(narrow):+.3f}" if narrow else ""
    return (
        f"{low:.2f}, {middle:.2f}, {high:.2f} | {errors.mean():+.3f} / {errors.std():.3f} / {z:.2f}{q10} | "
        f"{len(rows) - len(estimated)}"
    )


def main() -> None:
    """Train, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    learn = commands.add_parser("train")
    learn.add_argument("output", type=Path)
    learn.add_argument("--crops", type=int, default=150, help="of each scene")
    learn.add_argument("--without", nargs="*", default=[], help="scenes to leave out")
    learn.add_argument("--cache", type=Path, help="folder that keeps the samples")
    score = commands.add_parser("measure")
    score.add_argument("--weights", type=Path)
    score.add_argument("--scenes", nargs="+", default=list(VALIDATION))
    score.add_argument("--scales", type=int, nargs="+", default=[2, 4, 8])
    score.add_argument("--noise", type=float, nargs="+", default=[0.0], help="standard deviations, 1 / 255")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.command == "train":
        train(arguments.output, arguments.crops, arguments.without, arguments.cache)
        return
    for line in table(list(measured(arguments.scenes, arguments.scales, arguments.noise, arguments.weights))):
        print(line, flush=True)


if __name__ == "__main__":
    main()
