"""Mutations of every file that the program writes and reads again: the answer is a product, or one line.

`fuzz(FILE, SEED)` is one case; the same seed makes the same file. Work directories of killed runs are in
test_interruptions.py.
"""

import contextlib
import functools
import json
import random
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from delivered import raster
from hostile_case import Case, check
from safetensors.torch import save

from dualsr_geo.cli import main
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.models.networks.guided import GuidedNetwork

UPSCALE = ("upscale", "--scale", "2", "--model", "bicubic", "-o", "out/again.tif")
GUIDED = ("upscale", "scene.tif", "--rgb", "pan.tif", "--scale", "2", "-o", "out/o.tif")
# What the program writes, and the commands that read it again.
FILES = {
    "o.tif": (("info", "o.tif"), (*UPSCALE, "o.tif")),
    "plain.tif": (("info", "plain.tif"), (*UPSCALE, "plain.tif")),
    "o.zarr": (("info", "o.zarr"), (*UPSCALE, "o.zarr")),
    "s/scene.tif": (("info", "s/scene.tif"), (*UPSCALE, "s/scene.tif")),
    "w.safetensors": (("models", "show", "w.safetensors"), (*GUIDED, "--model", "w.safetensors")),
    "psf.json": ((*UPSCALE, "scene.tif", "--psf", "psf.json"),),
    "b": (("batch", "--status", "-o", "b"),),
}  # fmt: skip
VALUES = (None, True, -1, 0, 2.5, 1e308, 10**30, "", "x", [], {}, [None], {"a": []}, "0" * 300, "\u0000")
QUICK, LONG = 10, 400


@functools.cache
def written():
    """Return a directory of everything that the program writes."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    rng = np.random.default_rng(1)
    raster(folder / "scene.tif", rng.integers(500, 5000, (3, 16, 16)).astype("uint16"), 8.0)
    raster(folder / "pan.tif", rng.integers(500, 5000, (1, 32, 32)).astype("uint16"), 4.0)
    (folder / "psf.json").write_text(json.dumps(Psf.from_mtf(2, 0.3).to_json()))
    card = {"network": "guided", "ratio": 0, "width": 8, "halo": 18, "block": 1}
    tensors = GuidedNetwork(8, 1).state_dict()
    (folder / "w.safetensors").write_bytes(save(tensors, metadata={"dualsr-geo": json.dumps(card)}))
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for output in (("o.tif",), ("plain.tif", "-f", "GTiff"), ("o.zarr",)):
            make("upscale", "scene.tif", "--scale", "2", "-o", *output)
        make("sample", "s", "--size", "16", "16", "--bands", "3")
        make("batch", "scene.tif", "--scale", "2", "--model", "bicubic", "-o", "b")
    return folder


def make(*arguments):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output


def mutated(content, rng):
    """Return bytes with a change: flipped, overwritten, inserted, deleted, cut, or another value in JSON or text."""
    with contextlib.suppress(ValueError):
        if rng.random() < 0.7:
            return _other_json(json.loads(content), rng)
    data = bytearray(content)
    at, length = rng.randrange(max(1, len(data))), rng.choice((1, 1, 1, 4, 64))
    kind = rng.choice(("flip", "flip", "set", "insert", "delete", "cut", "swap"))
    if kind == "flip" and data:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == "set":
        data[at : at + length] = rng.choice((b"\0", b"\xff", b"9")) * length
    elif kind == "insert":
        data[at:at] = rng.randbytes(length)
    elif kind == "delete":
        del data[at : at + length]
    elif kind == "swap":
        data = data[at:] + data[:at]
    else:
        del data[at:]
    return bytes(data)


def _other_json(document, rng):
    """Return a JSON document with another value or without one, at a random place."""
    node, parents = document, []
    while isinstance(node, dict | list) and node and (not parents or rng.random() < 0.8):
        key = rng.choice(sorted(node)) if isinstance(node, dict) else rng.randrange(len(node))
        parents.append((node, key))
        node = node[key]
    if not parents:
        return json.dumps(rng.choice(VALUES)).encode()
    parent, key = parents[-1]
    if isinstance(parent, dict) and rng.random() < 0.2:
        del parent[key]
    else:
        parent[key] = rng.choice(VALUES)
    return json.dumps(document).encode()


def fuzz(name, seed):
    """Return the case of one mutation of a file, or of a file in a folder."""

    def make_case(folder):
        rng = random.Random(f"{name} {seed}")
        for source in (name, "scene.tif", "pan.tif"):
            target = folder / source
            target.parent.mkdir(exist_ok=True)
            if (written() / source).is_dir():
                shutil.copytree(written() / source, target)
            else:
                shutil.copy(written() / source, target)
        (folder / "out").mkdir()
        files = sorted(p for p in (folder / name).rglob("*") if p.is_file()) or [folder / name]
        victim = rng.choice(files)
        victim.write_bytes(mutated(victim.read_bytes(), rng))
        return list(rng.choice(FILES[name]))

    return Case(f"{name}, mutation {seed}", make_case, either=True)


CASES = tuple(fuzz(name, seed) for name in FILES for seed in range(QUICK))
LONG_CASES = tuple(fuzz(name, seed) for name in FILES for seed in range(QUICK, LONG))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("case", LONG_CASES, ids=str)
def test_answer_of_the_long_table(case, tmp_path):
    check(case, tmp_path)


def test_mutations_of_a_seed_are_the_same():
    one, other = (mutated(b"some bytes", random.Random("a 1")) for _ in range(2))
    assert one == other != b"some bytes"
