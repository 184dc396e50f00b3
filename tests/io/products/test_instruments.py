"""What holds of the readers of every instrument in `instruments`: windows, bands, workers, archives."""

import os
import pickle

import delivered
import instruments
import numpy as np
import packed
import pytest
import rasterio

from dualsr_geo.io.products import registry
from dualsr_geo.io.scenes import open_delivered
from dualsr_geo.raster.windows import Window

FOLDERS = {
    "planetscope": instruments.planetscope,
    "dimap": lambda folder: instruments.dimap(folder)[0],
    "dimap in JPEG 2000": lambda folder: instruments.dimap(folder, form="JP2", tiles=(1, 2))[0],
    "desis": instruments.desis,
    "eo1 ali": instruments.ali,
    "hls": instruments.hls,
    "ecostress": instruments.ecostress,
}
# Hyperion's 198 files in archives take seconds, and are read as those of ALI.
MAKE = FOLDERS | {
    "eo1 hyperion": lambda folder: instruments.hyperion(folder, shape=(9, 11)),
    "tanager": lambda folder: instruments.tanager(folder)[0],
}


def whole(scene):
    height, width = scene.shape
    return scene.source.read(Window(0, height, 0, width))


@pytest.fixture(scope="module", params=MAKE)
def product(request, tmp_path_factory):
    """Give the kind and the path of a product."""
    return request.param.split()[0], MAKE[request.param](tmp_path_factory.mktemp("product"))


def test_a_path_looks_like_one_kind_only(product):
    kind, path = product
    assert [r.__name__.rpartition(".")[2] for r in registry.READERS if r.looks_like(path)] == [kind]


def test_windows_and_bands_are_parts_of_the_whole(product):
    scene = open_delivered(product[1]).scene
    everything = whole(scene)
    height, width = scene.shape
    window, bands = Window(3, height - 2, 5, width - 4), [scene.count - 1, 0]
    np.testing.assert_array_equal(scene.source.read(window, bands), everything[bands, 3 : height - 2, 5 : width - 4])
    chosen = scene.select([scene.count - 1])
    np.testing.assert_array_equal(whole(chosen), everything[-1:])
    sample = scene.source.thumbnail(scene.count - 1, (4, 5)).ravel()
    assert set(sample[np.isfinite(sample)]) <= set(everything[-1].ravel())


def test_sources_travel_and_notice_a_changed_file(product):
    scene = open_delivered(product[1]).scene
    again = pickle.loads(pickle.dumps(scene))
    np.testing.assert_array_equal(whole(again), whole(scene))
    before = again.source.fingerprint()
    assert before == scene.source.fingerprint()
    os.utime(scene.source.files_read()[0], ns=(1, 1))
    assert scene.source.fingerprint() != before


def test_stored_values_are_what_physical_ones_are_packed_as(product):
    scene = open_delivered(product[1]).scene
    packing = scene.packing
    steps = (whole(scene).astype(np.float64) - np.array(packing.offsets)[:, None, None]) / np.array(packing.scales)[
        :, None, None
    ]
    finite = np.isfinite(steps)
    assert finite.any()
    assert not finite.all()
    if not packing.is_float:
        np.testing.assert_allclose(steps[finite], np.round(steps[finite]), atol=0.05)


@pytest.mark.parametrize("how", ["zip", "tar", "tar in folders"])
@pytest.mark.parametrize("kind", FOLDERS)
def test_an_archive_opens_as_its_folder(kind, how, tmp_path):
    folder = FOLDERS[kind](tmp_path / "product")
    one, other = open_delivered(packed.PACKED[how](folder, tmp_path)), open_delivered(folder)
    assert (one.sensor, one.level, one.notes, one.scene.bands) == (
        other.sensor, other.level, other.notes, other.scene.bands,
    )  # fmt: skip
    for a, b in zip((one.scene, *one.guides), (other.scene, *other.guides), strict=True):
        assert a.geobox == b.geobox
        np.testing.assert_array_equal(whole(a), whole(b))


@pytest.mark.parametrize("make", [delivered.enmap, instruments.desis])
def test_a_product_with_the_name_of_its_cube_is_opened_itself(make, tmp_path):
    folder = make(tmp_path)
    cube = next(f for f in folder.iterdir() if "-SPECTRAL_IMAGE" in f.name)
    product = cube.with_name(f"{cube.stem}_x2.tif")
    whole_of_delivery = whole(open_delivered(folder).scene)
    with rasterio.open(cube) as file:
        profile, values = file.profile, np.repeat(np.repeat(file.read(), 2, 1), 2, 2)
    _, height, width = values.shape
    with rasterio.open(product, "w", **profile | {"height": height, "width": width, "nodata": -32768}) as file:
        file.write(values)
        file.scales, file.offsets = (1e-4,) * file.count, (0.0,) * file.count
    for _ in range(2):
        delivery = open_delivered(product)
        assert (delivery.scene.shape, delivery.notes, delivery.sensor) == ((height, width), (), "")
        np.testing.assert_allclose(whole(delivery.scene), np.repeat(np.repeat(whole_of_delivery, 2, 1), 2, 2))
        # The delivery is still the cube, and elsewhere no metadata are sought.
        if product.parent == folder:
            np.testing.assert_array_equal(whole(open_delivered(folder).scene), whole_of_delivery)
            product = product.rename(tmp_path / product.name)


@pytest.mark.parametrize("make", [delivered.enmap, instruments.desis])
def test_a_part_of_a_cube_is_opened_like_the_whole(make, tmp_path):
    folder = make(tmp_path)
    cube = next(f for f in folder.iterdir() if "-SPECTRAL_IMAGE" in f.name)
    part = cube.with_name(f"{cube.stem}_part.tif")
    with rasterio.open(cube) as file:
        window = rasterio.windows.Window(5, 7, 20, 10)
        profile = file.profile | {"height": 10, "width": 20, "transform": file.window_transform(window)}
        values = file.read(window=window)
    with rasterio.open(part, "w", **profile) as file:
        file.write(values)
    scene = open_delivered(part).scene
    np.testing.assert_array_equal(whole(scene), whole(open_delivered(folder).scene)[:, 7:17, 5:25])
    assert scene.bands == open_delivered(folder).scene.bands
