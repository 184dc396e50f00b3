"""Compute one window of a lazy product, as for a scene in a remote archive.

Run: python examples/lazy_window.py
"""

import tempfile

import rioxarray

import dualsr_geo  # noqa: F401  # registers .dualsr
from dualsr_geo import synthetic


def main() -> None:
    """Sharpen lazily, compute a corner."""
    with tempfile.TemporaryDirectory() as folder:
        scene, pan = (
            rioxarray.open_rasterio(path, masked=True, chunks={})
            for path in synthetic.write(folder, shape=(72, 96), bands=6, guide="pan")
        )
        sharp = scene.dualsr.upscale(rgb=pan, tile=32)
        print(f"lazy: {dict(sharp.sizes)}, blocks of {sharp.data.chunksize}, nothing computed")
        corner = sharp.isel(y=slice(0, 100), x=slice(0, 100)).compute()
        print(f"computed: {corner.shape}, {float(corner.mean()):.4f} on average; the scene there {mean_of(scene):.4f}")


def mean_of(scene: rioxarray.raster_array.xarray.DataArray) -> float:
    """Return the mean of the same corner of the scene."""
    return float(scene.isel(y=slice(0, 25), x=slice(0, 25)).mean())


if __name__ == "__main__":
    main()
