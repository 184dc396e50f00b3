"""Products of more instruments in a store: folders are read in place, the same as from disk."""

import delivered
import instruments
import numpy as np
import pytest
from store_server import make_bucket, run_servers

from dualsr_geo.io.scenes import open_delivered
from dualsr_geo.raster.windows import Window

MAKE = {
    "planetscope": instruments.planetscope,
    "maxar": delivered.maxar,
    "dimap": lambda folder: instruments.dimap(folder)[0],
    "desis": instruments.desis,
    "ali": instruments.ali,
    "hls": instruments.hls,
    "ecostress": instruments.ecostress,
}


@pytest.fixture(scope="module")
def servers():
    yield from run_servers()


@pytest.fixture
def bucket(servers, tmp_path, monkeypatch):
    scene = instruments.raster(tmp_path / "scene.tif", np.ones((1, 4, 4), "uint8"), 30)
    yield from make_bucket(servers, (scene, scene), monkeypatch)


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


@pytest.mark.parametrize("kind", MAKE)
def test_a_folder_in_a_store_is_the_same_product(kind, bucket, tmp_path):
    folder = MAKE[kind](tmp_path / "product")
    bucket.put_folder(f"in/{folder.name}", folder)
    ours, theirs = open_delivered(f"s3://scenes/in/{folder.name}/"), open_delivered(folder)
    assert (ours.sensor, ours.level, ours.notes) == (theirs.sensor, theirs.level, theirs.notes)
    for a, b in zip((ours.scene, *ours.guides), (theirs.scene, *theirs.guides), strict=True):
        # As text, since NaN, the nodata value of temperatures, differs from itself.
        assert (a.geobox, a.bands, repr(a.packing)) == (b.geobox, b.bands, repr(b.packing))
        np.testing.assert_array_equal(whole(a), whole(b))
