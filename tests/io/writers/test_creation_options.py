"""Creation options: defaults, overridden, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from outputs import (
    FORMATS,
    IDENTITY,
    a_spec,
    write_output,
)

from dualsr_geo.errors import OptionError, OutputError
from dualsr_geo.io.writers import tile_store
from dualsr_geo.io.writers.output_records import is_same_output
from dualsr_geo.io.writers.tile_store import TileStore

pytestmark = [
    # rioxarray 0.19 and odc-geo 0.5 multiply affines by `*`, which affine 3 deprecates.
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),
]


def test_creation_options_override_the_defaults(tmp_path: Path) -> None:
    for form in ("COG", "GTiff"):
        options = (
            ("compress", "DEFLATE"),
            ("BLOCKSIZE", "256"),
            ("LEVEL", "9"),
            ("OVERVIEW_RESAMPLING", "nearest"),
        )
        spec = a_spec(tmp_path / FORMATS[form], form, shape=(600, 530), options=options)
        values = write_output(spec)
        with rasterio.open(spec.path) as dataset:
            assert np.array_equal(dataset.read(), values)
            assert dataset.compression.name == "deflate"
            assert dataset.block_shapes[0] == (256, 256)
    spec = a_spec(tmp_path / "p.tif", "GTiff", shape=(600, 530), options=(("INTERLEAVE", "PIXEL"), ("TILED", "NO")))
    values = write_output(spec)
    with rasterio.open(spec.path) as dataset:
        assert np.array_equal(dataset.read(), values)
        assert dataset.interleaving.name == "pixel"
        assert dataset.block_shapes[0][1] == 530


def test_options_that_gdal_would_ignore_are_refused_before_the_work(tmp_path: Path) -> None:
    for name, value in (("COMPRESS", "MAGIC"), ("OVERVIEW_RESAMPLING", "best")):
        with pytest.raises(OptionError, match=f"--co {name}={value} is unknown. Give"):
            write_output(a_spec(tmp_path / "a.tif", options=((name, value),)))
    assert not list(tmp_path.iterdir())


def test_an_option_that_gdal_refuses_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--co BLOCKSIZE=17: GDAL cannot write .*Bad value 17") as caught:
        write_output(a_spec(tmp_path / "a.tif", options=(("BLOCKSIZE", "17"),)))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_option_that_gdal_refuses_after_the_work_keeps_the_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if GDAL refused only the large image.
    monkeypatch.setattr(tile_store, "require_possible", lambda _spec: None)
    spec = a_spec(tmp_path / "a.tif", options=(("BLOCKSIZE", "17"),))
    with pytest.raises(OutputError, match=r"(?s)could not write .*a\.tif.*--co.*--resume") as caught:
        write_output(spec)
    assert "\n" not in str(caught.value)
    assert not Path(spec.path).exists()
    better = a_spec(tmp_path / "a.tif")
    store = TileStore.begin(better, IDENTITY, resume=True, overwrite=False)
    assert len(store.done()) == spec.tiles
    store.finish({}, None)
    assert is_same_output(better, IDENTITY)
