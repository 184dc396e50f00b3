"""Wavelengths in the dialects of files: numbers, units and names."""

import pytest
import rioxarray
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo import synthetic
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.raster.wavelengths import from_name

UNITS = {"nm": 1.0, "Nanometers": 1.0, "um": 1e3, "µm": 1e3, "Micrometers": 1e3}


@given(
    nm=st.floats(350, 2600), unit=st.sampled_from(sorted(UNITS)), word=st.text(st.characters(categories=["L", "Nd"]))
)
def test_a_name_that_ends_in_a_wavelength_says_it(nm, unit, word):
    number_text = f"{nm / UNITS[unit]:.6f}"
    assert from_name(f"{word} ({number_text} {unit})").wavelength_nm == pytest.approx(nm, abs=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "B8A (20 m)",
        "red",
        "red (665)",
        "(665 nm) red",
        "red (nm)",
        "x (665 nm) y",
        "depth (3 mm)",
        "n (5 nm)",
    ],
)
def test_any_other_name_says_nothing(name):
    assert from_name(name).wavelength_nm is None


def test_an_array_that_rioxarray_opened_keeps_its_wavelengths(tmp_path):
    scene, _ = synthetic.write(tmp_path, shape=(9, 11), bands=7)
    opened = rioxarray.open_rasterio(scene, masked=True)
    assert [b.wavelength_nm for b in open_scene(opened).bands] == [b.wavelength_nm for b in open_scene(scene).bands]
