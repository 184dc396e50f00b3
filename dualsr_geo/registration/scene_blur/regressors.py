"""The regressors from features to a blur: small perceptrons, whose weights come with the package."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load

Floats = NDArray[np.float32]

# The weights of the package, with their SHA-256: another file is not what was measured.
SHIPPED = Path(__file__).with_name("scene_blur.safetensors")
SHIPPED_SHA256 = "cdac5e47541ab630a93b58ec50458905bd2e5ebb0fdbe632c2058fdf767ab66c"
# Frequencies at which the transfer function is estimated, cycles a lr pixel.
FREQUENCIES = tuple((np.arange(1, 17) / 8).tolist())
# Standardised inputs are clipped to this: farther from the training's mean nothing was learned.
LARGEST_INPUT = 5.0
# Range of the logarithm of an error, lr pixels.
LOG_ERROR_RANGE = (-5.0, 0.0)


@dataclass(frozen=True, eq=False)
class Regressors:
    """Perceptrons of two hidden layers, evaluated together.

    Attributes
    ----------
    mean, std : array, shape (input,)
        By which inputs are standardised.
    layers : tuple of (array, array), shapes (net, in, out) and (net, 1, out)
    """

    mean: Floats
    std: Floats
    layers: tuple[tuple[Floats, Floats], ...]

    def __call__(self, inputs: Floats) -> tuple[Floats, Floats, Floats]:
        """Return transfer functions (sample, frequency), widths and their errors (sample,), lr pixels.

        Parameters
        ----------
        inputs : array, shape (sample, input)
        """
        x = np.clip((inputs - self.mean) / self.std, -LARGEST_INPUT, LARGEST_INPUT)[None]
        for weight, bias in self.layers[:-1]:
            x = x @ weight + bias
            x = x / (1 + np.exp(-x))
        weight, bias = self.layers[-1]
        out = x @ weight + bias
        count = len(FREQUENCIES)
        widths = out[..., count]
        errors = np.exp(np.clip(out[..., count + 1], *LOG_ERROR_RANGE))
        return out[..., :count].mean(0), widths.mean(0), np.sqrt((errors**2).mean(0) + widths.var(0))


@lru_cache(maxsize=4)
def load_regressors(path: Path = SHIPPED) -> Regressors:
    """Return the regressors of a file."""
    tensors = {name: tensor.astype(np.float32) for name, tensor in load(path.read_bytes()).items()}
    count = sum(name.startswith("weight") for name in tensors)
    layers = tuple((tensors[f"weight{i}"], tensors[f"bias{i}"]) for i in range(count))
    return Regressors(tensors["mean"], tensors["std"], layers)


def read_card(path: Path = SHIPPED) -> dict[str, Any]:
    """Return the card of a file: what the regressors were trained on, and how."""
    with safe_open(path, "np") as file:
        card: dict[str, Any] = json.loads((file.metadata() or {})["dualsr-geo"])
    return card


def sha256(path: Path = SHIPPED) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
