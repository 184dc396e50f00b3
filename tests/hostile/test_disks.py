"""Disks that are full, read-only or devices that take nothing: one line, and what is finished is kept."""

import contextlib
import subprocess

import numpy as np
import pytest
import rasterio
from delivered import raster
from hostile_case import Case, check

FAST = ("--scale", "2", "--model", "interpolation", "-q")
GUIDED = ("guide-check", "scene.tif", "--rgb", "pan.tif")


def command(*words):
    def make(folder):
        rng = np.random.default_rng(1)
        raster(folder / "scene.tif", rng.integers(500, 5000, (3, 40, 40)).astype("uint16"), 8.0)
        raster(folder / "pan.tif", rng.integers(500, 5000, (1, 80, 80)).astype("uint16"), 4.0)
        return list(words)

    return make


def sharpen(*words):
    return command("upscale", "scene.tif", *FAST, *words)


def batch(*words):
    return command("batch", "scene.tif", *FAST, *words)


def no_product(folder, _outcome):
    assert not list((folder / "disk").rglob("*.tif"))
    assert not list((folder / "disk").rglob("*.png"))
    assert not list((folder / "disk").rglob("*.html"))


def whole_product(folder, outcome):
    no_product(folder, outcome)
    with rasterio.open(folder / "o.tif") as dataset:
        assert dataset.read().all()


def advises_no_resume(folder, outcome):
    no_product(folder, outcome)
    assert "--resume" not in outcome.err


FULL = (
    Case("a product", sharpen("-o", "disk/o.tif"), r"disk is full at .*--resume|of its disk are free", verify=no_product),
    Case("a group", sharpen("-o", "disk/o.zarr"), r"disk is full at .*--resume|of its disk are free", verify=no_product),
    Case("a degraded scene", command("degrade", "scene.tif", "--scale", "2", "-o", "disk/o.tif"),
         r"disk is full at .*Make room, then run again|of its disk are free", verify=advises_no_resume),
    Case("a report", sharpen("-o", "o.tif", "--report", "disk/r.html"), r"report disk/r\.html could not be written: .*No space",
         verify=whole_product),
    Case("a log", sharpen("-o", "o.tif", "--log-json", "disk/log.jsonl"),
         warning=r"disk/log\.jsonl cannot be written: No space left on device\. The run continues", verify=whole_product),
    Case("a plot", command(*GUIDED, "--plot", "disk/a.png"), r"plot disk/a\.png cannot be written: No space", verify=no_product),
    Case("a batch", batch("-o", "disk/out"), r"No space left on device", verify=no_product),
    Case("a sample", command("sample", "disk", "--size", "64", "64"), r"sample cannot be written to disk", verify=no_product),
    Case("a sample of a few pixels", command("sample", "disk/new", "--size", "8", "8"), r"sample cannot be written to disk",
         verify=no_product),
)  # fmt: skip
READ_ONLY = (
    Case("a product", sharpen("-o", "disk/o.tif"), r"folder disk is not writable"),
    Case("a group", sharpen("-o", "disk/o.zarr"), r"folder disk is not writable"),
    Case("a degraded scene", command("degrade", "scene.tif", "--scale", "2", "-o", "disk/o.tif"), r"disk is not writable"),
    Case("a report", sharpen("-o", "o.tif", "--report", "disk/r.html"), r"directory disk is not writable"),
    Case("a log", sharpen("-o", "o.tif", "--log-json", "disk/log.jsonl"), r"directory disk is not writable"),
    Case("a plot", command(*GUIDED, "--plot", "disk/a.png"), r"disk is not writable"),
    Case("a batch", batch("-o", "disk/out"), r"out cannot be created: Read-only file system"),
    Case("a batch in a folder that exists", batch("-o", "disk"), r"disk cannot be locked: Read-only|cannot be written"),
    Case("a sample", command("sample", "disk"), r"sample cannot be written to disk"),
    Case("weights", command("train", "scene.tif", "--network", "coarsenet", "-o", "disk/w.safetensors"), r"disk is not writable"),
)  # fmt: skip


@pytest.fixture
def disk(tmp_path):
    """A disk of 256 KiB; skips where mounting is not allowed."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs is not allowed here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("case", FULL, ids=str)
def test_a_full_disk(case, disk, tmp_path):
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            pass
    check(case, tmp_path)


@pytest.mark.parametrize("case", READ_ONLY, ids=str)
def test_a_read_only_disk(case, disk, tmp_path):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    check(case, tmp_path)
