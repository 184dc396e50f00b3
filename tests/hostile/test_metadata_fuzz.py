"""Random JSON values in the attributes of arrays and in PSF files: a scene, or one line."""

import json
import math
import warnings

import numpy as np
import xarray as xr
from delivered import counts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dualsr_geo.degradation.psf import Psf, read_psf
from dualsr_geo.errors import DualSRError
from dualsr_geo.io.scenes import open_scene

SIDE = 12
KEYS = (
    "scale_factor", "add_offset", "scales", "offsets", "_FillValue", "missing_value", "nodata", "nodatavals", "units",
    "band_units", "long_name", "color_interpretation", "band_tags", "wavelength", "wavelength_units", "fwhm", "bbl",
    "grid_mapping", "transform", "spatial:transform", "crs", "proj:wkt2", "proj:code", "gdal_metadata", "AREA_OR_POINT",
    "ancillary_variables", "standard_name",
)  # fmt: skip
MAPPING_KEYS = ("GeoTransform", "crs_wkt", "spatial_ref", "grid_mapping_name", "semi_major_axis")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8)
    | st.sampled_from(["EPSG:32633", "nan", "1e999", "red", "1 2 3 4 5 6", "transverse_mercator", "{1, 2, 3}"]),
    lambda children: st.lists(children, max_size=7) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=8,
)  # fmt: skip


def require_one_line(error):
    text = str(error)
    assert text
    assert "\n" not in text
    assert "Please report" not in text


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    attrs=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3),
    encoding=st.dictionaries(
        st.sampled_from((*KEYS[:8], "dtype", "rasterio_dtype", "grid_mapping")), VALUES, max_size=2
    ),
    mapping=st.dictionaries(st.sampled_from(MAPPING_KEYS), VALUES, max_size=2),
    dtype=st.sampled_from(["uint16", "float32", "float64"]),
)
def test_attributes_of_an_array(attrs, encoding, mapping, dtype):
    array = xr.DataArray(counts(1, (3, SIDE, SIDE), dtype=dtype), dims=("band", "y", "x"), name="s")
    array = array.assign_coords(spatial_ref=xr.DataArray(0, attrs=mapping))
    array.attrs, array.encoding = attrs, encoding
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scene = open_scene(array)
    except DualSRError as error:
        require_one_line(error)
        return
    assert scene.count == 3
    assert all(math.isfinite(v) and v for v in scene.packing.scales)
    assert all(map(math.isfinite, (*scene.packing.offsets, *scene.geobox.affine)))
    assert scene.geobox.affine.determinant


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    value=VALUES
    | st.fixed_dictionaries(
        {k: VALUES | st.lists(st.floats(), max_size=4) for k in ("ratio", "taps_y", "taps_x", "start_y", "start_x")}
    )
)
def test_a_psf_file(value, tmp_path_factory):
    path = tmp_path_factory.mktemp("psf") / "p.json"
    path.write_text(json.dumps(value))
    try:
        psf = read_psf(path)
    except DualSRError as error:
        require_one_line(error)
        return
    assert isinstance(psf, Psf)
    assert np.isfinite(psf.taps_y).all()
