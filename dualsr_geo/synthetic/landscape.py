"""Synthetic landscapes: how much of each material covers each pixel, with texture and shade."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from dualsr_geo.synthetic.materials import MATERIALS

Array = NDArray[np.float32]

# Standard deviation of the blur of the guide's optics.
OPTICS_PX = 0.6


def _texture(size: tuple[int, int], rng: np.random.Generator, widths: tuple[float, ...]) -> Array:
    """Return noise of equal variance at several scales (standard deviation of a Gaussian, px), of zero mean and unit variance."""
    total = np.zeros(size, np.float32)
    for width in widths:
        plane = gaussian_filter(rng.standard_normal(size, dtype=np.float32), width)
        total += plane / plane.std()
    return np.asarray(total / total.std(), np.float32)


def ground_abundances(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Return the abundances of a random landscape, shape (material, y, x)."""
    names = list(MATERIALS)
    cover = _fields(size, rng)
    # Later layers cover earlier ones.
    for add_layer in (_trees, _river, _roads, _roofs):
        add_layer(cover, rng)
    planes = np.stack([np.asarray(cover == i, np.float32) for i in range(len(names))])
    # The optics of the guide blur edges.
    planes = np.stack([gaussian_filter(p, OPTICS_PX) for p in planes])
    planes *= 1 + 0.10 * _texture(size, rng, (0.8, 2.0, 6.0)) + 0.05 * _texture(size, rng, (20.0,))
    green = planes[: names.index("asphalt")].sum(0)
    planes[names.index("moisture")] = green * 0.2 * _texture(size, rng, (1.0, 5.0, 25.0))
    planes[names.index("pigment")] = green * 0.3 * _texture(size, rng, (1.0, 8.0))
    planes *= _shade(cover, names)
    return planes


def _fields(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int8]:
    """Return the material of each pixel: tilted parcels of crop, meadow, trees, soil and straw."""
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    tilt = rng.uniform(0.15, 0.5)
    u, v = y * np.cos(tilt) + x * np.sin(tilt), x * np.cos(tilt) - y * np.sin(tilt)
    width, length = rng.uniform(26, 34), rng.uniform(55, 75)
    column = np.floor(v / width).astype(int)
    row = np.floor((u + 23.0 * (column % 3)) / length).astype(int)
    materials = rng.choice(5, size=(97, 89), p=[0.3, 0.25, 0.05, 0.25, 0.15])
    return np.asarray(materials[row % 97, column % 89], np.int8)


def _put(cover: NDArray[np.int8], mask: NDArray[np.bool_], material: str) -> None:
    cover[mask] = list(MATERIALS).index(material)


def _river(cover: NDArray[np.int8], rng: np.random.Generator) -> None:
    y, x = np.mgrid[: cover.shape[0], : cover.shape[1]]
    middle = 0.72 * cover.shape[1] + 18 * np.sin(y / 47 + rng.uniform(0, 6)) + 0.12 * y
    _put(cover, np.abs(x - middle) < 15, "trees")
    _put(cover, np.abs(x - middle) < 10, "water")


def _roads(cover: NDArray[np.int8], rng: np.random.Generator) -> None:
    y, x = np.mgrid[: cover.shape[0], : cover.shape[1]]
    for _ in range(2 + cover.size // 200_000):
        angle, point = rng.uniform(0, np.pi), rng.uniform(0.1, 0.9, 2) * cover.shape
        distance = (x - point[1]) * np.sin(angle) - (y - point[0]) * np.cos(angle)
        _put(cover, np.abs(distance) < rng.uniform(2.0, 4.5), "asphalt")


def _roofs(cover: NDArray[np.int8], rng: np.random.Generator) -> None:
    villages = rng.uniform(0.1, 0.6, (1 + cover.size // 120_000, 2)) * cover.shape
    for village in villages:
        for _ in range(26):
            centre = village + rng.normal(0, 30, 2)
            material = ("red roof", "red roof", "concrete", "blue roof")[rng.integers(4)]
            _roof(cover, centre, rng.uniform(4, 9, 2), rng.uniform(0, 0.5), material)


def _roof(
    cover: NDArray[np.int8], centre: NDArray[np.float64], half_size: NDArray[np.float64], angle: float, material: str
) -> None:
    """Add a rotated rectangle; sizes in px, the angle in radians."""
    reach = int(np.ceil(np.hypot(*half_size))) + 1
    y0, x0 = (max(0, int(c) - reach) for c in centre)
    part = cover[y0 : max(y0, int(centre[0]) + reach), x0 : max(x0, int(centre[1]) + reach)]
    y, x = np.mgrid[: part.shape[0], : part.shape[1]]
    dy, dx = y + y0 - centre[0], x + x0 - centre[1]
    inside = (np.abs(dy * np.cos(angle) + dx * np.sin(angle)) < half_size[0]) & (
        np.abs(dx * np.cos(angle) - dy * np.sin(angle)) < half_size[1]
    )
    _put(part, inside, material)


def _trees(cover: NDArray[np.int8], rng: np.random.Generator) -> None:
    for _ in range(cover.size // 900):
        centre, radius = rng.uniform(0, 1, 2) * cover.shape, rng.uniform(1.5, 4.5)
        reach = int(radius) + 1
        y0, x0 = (max(0, int(c) - reach) for c in centre)
        part = cover[y0 : int(centre[0]) + reach + 1, x0 : int(centre[1]) + reach + 1]
        y, x = np.mgrid[: part.shape[0], : part.shape[1]]
        _put(part, (y + y0 - centre[0]) ** 2 + (x + x0 - centre[1]) ** 2 < radius**2, "trees")


def _shade(cover: NDArray[np.int8], names: list[str]) -> Array:
    """Return the illumination: 1 in the sun, less where a roof or a tree is to the south-east."""
    height = np.zeros(cover.shape, np.float32)
    for name, value in (("red roof", 3.0), ("concrete", 2.0), ("blue roof", 4.0), ("trees", 2.0)):
        height[cover == names.index(name)] = value
    shadow = np.zeros_like(height)
    for step in (1, 2, 3):
        cast = np.zeros_like(height)
        cast[:-step, :-step] = height[step:, step:]
        shadow = np.maximum(shadow, (cast > height + step - 1).astype(np.float32))
    return np.asarray(1 - 0.55 * gaussian_filter(shadow, 0.7), np.float32)
