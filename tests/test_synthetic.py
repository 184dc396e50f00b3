import numpy as np
import pytest
import rasterio
from scipy.ndimage import correlate1d

from dualsr_geo import synthetic


def test_the_same_seed_gives_the_same_scene_and_another_does_not():
    one, two, other = (synthetic.make((13, 22), seed=s, noise=0.01) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.scene, two.scene)
    np.testing.assert_array_equal(one.guide, two.guide)
    assert np.abs(one.reference - other.reference).max() > 0.05


@pytest.mark.parametrize(("ratio", "gain"), [(4, 0.3), (3, 0.2), (2, 0.35)])
def test_the_scene_is_the_reference_blurred_and_decimated(ratio, gain):
    sample = synthetic.make((17, 11), ratio=ratio, bands=5, mtf_gain=gain)
    sigma = ratio / np.pi * np.sqrt(-2 * np.log(gain))
    # The kernel is centred on the lr pixel: between two hr pixels for even ratios.
    at = np.arange(-5 * ratio, 5 * ratio + ratio)
    taps = np.exp(-0.5 * ((at - (ratio - 1) / 2) / sigma) ** 2)
    taps /= taps.sum()
    pad = 6 * ratio
    wide = np.pad(sample.reference.astype(np.float64), ((0, 0), (pad, pad), (pad, pad)), mode="edge")
    rows = [np.tensordot(wide, taps, axes=(1, 0)) for wide in _windows(wide, 1, ratio, pad, 17, at)]
    half = np.stack(rows, axis=1)
    columns = [np.tensordot(part, taps, axes=(2, 0)) for part in _windows(half, 2, ratio, pad, 11, at)]
    np.testing.assert_allclose(sample.scene, np.stack(columns, axis=2), atol=2e-6)


def _windows(values, axis, ratio, pad, count, at):
    for i in range(count):
        yield np.take(values, pad + i * ratio + at, axis=axis)


def test_the_oracle_of_the_test_above_is_scipys_correlation():
    line = np.random.default_rng(0).random(40)
    taps = np.array([0.2, 0.5, 0.3])
    by_hand = [line[np.clip(np.arange(i - 1, i + 2), 0, 39)] @ taps for i in range(40)]
    np.testing.assert_allclose(correlate1d(line, taps, mode="nearest"), by_hand)


@pytest.mark.parametrize("bands", [1, 8, 31, 128])
def test_spectra_are_reflectances(bands):
    sample = synthetic.make((20, 30), bands=bands)
    assert sample.reference.shape == (bands, 80, 120)
    assert sample.scene.shape == (bands, 20, 30)
    assert -0.01 < sample.reference.min()
    assert 0.1 < sample.reference.max() < 1


def test_vegetation_has_a_red_edge_and_water_absorbs_the_infrared():
    nm = np.array([550.0, 670.0, 800.0])
    leaf, water = (synthetic.MATERIALS[m](nm) for m in ("crop", "water"))
    assert leaf[0] > leaf[1]
    assert leaf[2] > 5 * leaf[1]
    assert water[2] < water[0]


@pytest.mark.parametrize("shift", [(3.0, 0.0), (0.0, -2.0), (1.0, 4.0)])
def test_a_shifted_guide_is_below_and_right(shift):
    still = synthetic.make((20, 30), guide="pan").guide[0]
    moved = synthetic.make((20, 30), guide="pan", shift_px=shift).guide[0]
    dy, dx = map(int, shift)
    inner = np.s_[10:-10, 10:-10]
    np.testing.assert_allclose(moved[inner], np.roll(still, (dy, dx), (0, 1))[inner], atol=1e-5)


def test_noise_has_the_given_strength_and_does_not_depend_on_the_rows_read():
    clean, noisy = (synthetic.make((60, 50), bands=4, noise=n) for n in (0.0, 0.02))
    left = noisy.scene - clean.scene
    assert left.std() == pytest.approx(0.02, rel=0.03)
    np.testing.assert_array_equal(noisy.scene_rows(7, 19), noisy.scene[:, 7:19])


@pytest.mark.parametrize("guide", ["rgb", "pan"])
def test_written_files_say_what_they_are(tmp_path, guide):
    scene, sharp = synthetic.write(tmp_path / "new", shape=(13, 22), bands=31, guide=guide)
    sample = synthetic.make((13, 22), bands=31, guide=guide)
    with rasterio.open(scene) as one, rasterio.open(sharp) as two:
        assert one.crs == two.crs == rasterio.crs.CRS.from_epsg(32633)
        assert one.bounds == two.bounds
        assert (one.res, two.res) == ((8.0, 8.0), (2.0, 2.0))
        assert two.count == (1 if guide == "pan" else 3)
        stored = one.read() * one.scales[0]
        np.testing.assert_allclose(stored, np.clip(sample.scene, 0, None), atol=0.51e-4)
        assert float(one.tags(2, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"]) == pytest.approx(
            sample.wavelengths_nm[1] / 1000
        )


@pytest.mark.parametrize("which", ["scene", "guide", "reference"])
def test_dataarrays_cover_the_same_extent(which):
    sample = synthetic.make((13, 22), bands=4)
    array = synthetic.as_dataarray(sample, which)
    assert array.rio.crs.to_epsg() == 32633
    assert array.rio.bounds() == pytest.approx((389000.0, 5819896.0, 389176.0, 5820000.0))
