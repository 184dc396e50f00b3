# ruff: noqa: E402  # the modules of examples/benchmark lie beside their script, which is no package
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import label

from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import InputError, OptionError

BENCHMARK = Path(__file__).resolve().parents[2] / "examples" / "benchmark"
sys.path.insert(0, str(BENCHMARK))

import combinations
import contenders
import degradations
import disturbances
import environment
import reality
import regenerate
import results
import run
import scenes
import table
from cases import Case, Runs

sizes = st.integers(3, 9)
ratios = st.integers(2, 5)


def smooth(shape, bands=5, seed=0):
    """Bands that are mixtures of three smooth fields, in 0..1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    fields = np.stack([np.sin(y / a + p) * np.cos(x / b - p) for a, b, p in rng.uniform(1, 7, (3, 3))])
    cube = np.einsum("bk,kyx->byx", rng.uniform(0.2, 1, (bands, 3)), fields)
    return ((cube - cube.min()) / np.ptp(cube)).astype(np.float32)


def pair(shape=(7, 5), ratio=3, seed=0):
    cube = smooth((shape[0] * ratio, shape[1] * ratio))
    observed = degradations.degraded(cube, ratio, 0.3)
    return disturbances.Pair(observed, cube[:1], cube, ratio, 0.3, seed)


# ---- degradations ------------------------------------------------------------------------


@given(ratios, sizes, sizes)
def test_imresize_is_torchs_antialiased_bicubic_of_the_mirrored_scene(ratio, rows, columns):
    cube = np.random.default_rng(rows).random((2, rows * ratio, columns * ratio), dtype=np.float32)
    edge = 2 * ratio
    wide = np.pad(cube, ((0, 0), (edge, edge), (edge, edge)), mode="symmetric")
    theirs = torch.nn.functional.interpolate(
        torch.from_numpy(wide)[None], scale_factor=1 / ratio, mode="bicubic", antialias=True
    )[0, :, 2:-2, 2:-2]
    ours = degradations.DEGRADATIONS["matlab-bicubic"].observe(cube, ratio, (0.3,))
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


@given(ratios, sizes, sizes, st.floats(0.1, 0.6))
def test_mtf_is_the_operator_of_the_library(ratio, rows, columns, gain):
    cube = smooth((rows * ratio, columns * ratio))
    theirs = operator(Psf.from_mtf(ratio, gain), (rows, columns)).degrade(torch.from_numpy(cube))
    ours = degradations.DEGRADATIONS["mtf"].observe(cube, ratio, (gain,))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@given(ratios, st.floats(0.15, 0.6))
def test_mtf_has_its_gain_at_the_lr_nyquist_frequency(ratio, gain):
    row = degradations.gaussian_matrix(41 * ratio, ratio, gain)[20]
    centre = 20 * ratio + (ratio - 1) / 2
    response = np.sum(row * np.cos(np.pi / ratio * (np.arange(len(row)) - centre)))
    # A Gaussian sampled at whole pixels passes a little more than one that is not.
    assert response == pytest.approx(gain, abs=0.01)


@pytest.mark.parametrize(
    ("name", "gain"),
    [
        ("lanczos", 0.5),
        ("box", 0.65),
        ("gaussian-0.15", 0.15),
        ("gaussian-0.6", 0.6),
        ("nearest", 1.0),
        ("cubic", 1.03),
    ],
)
def test_blurs_have_their_gain_at_the_lr_nyquist_frequency_and_keep_the_mean(name, gain):
    """A wave of that frequency whose crests are at the centres of the lr pixels."""
    observe, ratio = degradations.BLURS[name].observe, 4
    at = (
        np.arange(40 * ratio) - (0 if name == "nearest" else (ratio - 1) / 2) - (ratio // 2 if name == "nearest" else 0)
    )
    wave = np.cos(np.pi / ratio * at).astype(np.float32)
    observed = observe(np.broadcast_to(wave, (1, 40 * ratio, 40 * ratio)).copy(), ratio, (0.3,))
    middle = observed[0, 20, 10:30] * (-1) ** np.arange(10, 30)
    np.testing.assert_allclose(middle, gain, atol=0.02)
    flat = observe(np.full((2, 24, 20), 0.7, np.float32), ratio, (0.3,))
    assert flat.shape == (2, 6, 5)
    np.testing.assert_allclose(flat, 0.7, rtol=1e-5)


@given(ratios, sizes)
def test_lanczos_is_pillows(ratio, lr):
    line = np.random.default_rng(lr).random(12 * ratio).astype(np.float32)
    wide = np.pad(line, 3 * ratio, mode="symmetric")
    theirs = np.asarray(Image.fromarray(wide[None]).resize((len(wide) // ratio, 1), Image.Resampling.LANCZOS))[0, 3:-3]
    ours = degradations.kernel_matrix(len(line), ratio, degradations.lanczos, 3) @ line
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_mtf_takes_a_gain_for_each_band():
    cube = smooth((12, 20), bands=2)
    ours = degradations.DEGRADATIONS["mtf"].observe(cube, 4, (0.35, 0.2))
    for i, gain in enumerate((0.35, 0.2)):
        np.testing.assert_array_equal(ours[i], degradations.degraded(cube[i : i + 1], 4, gain)[0])


@given(ratios, sizes)
def test_sfpn_is_torchs_convolution_and_bicubic_sampling(ratio, lr):
    length = max(lr, 8) * ratio
    line = np.random.default_rng(lr).random(length)
    taps = np.exp(-0.5 * (np.arange(13) - 6 - (ratio - 1) / 2) ** 2 / 10.0)
    wide = torch.from_numpy(np.pad(line, 6, mode="symmetric"))[None, None]
    blurred = torch.nn.functional.conv1d(wide, torch.from_numpy(taps / taps.sum())[None, None])
    theirs = torch.nn.functional.interpolate(
        blurred[..., None, :].expand(1, 1, ratio, length), scale_factor=1 / ratio, mode="bicubic"
    )[0, 0, 0]
    np.testing.assert_allclose(degradations.sfpn_matrix(length, ratio, 10.0) @ line, theirs, atol=1e-6)


def test_sfpn_adds_the_same_noise_of_3_255_every_time():
    flat = np.full((8, 80, 120), 0.5, np.float32)
    observe = degradations.DEGRADATIONS["sfpn-noise"].observe
    noisy = observe(flat, 4, (0.3,))
    assert noisy.std() == pytest.approx(3 / 255, rel=0.05)
    np.testing.assert_array_equal(noisy, observe(flat, 4, (0.3,)))


# ---- disturbances ------------------------------------------------------------------------


@pytest.mark.parametrize("by", [0.5, 1.0])
def test_a_shift_moves_the_guide_down_and_right(by):
    y, x = np.mgrid[:36, :48].astype(float)
    one = replace(pair(), guide=np.sin(y / 3 + x / 5)[None].astype(np.float32))
    moved = disturbances.shifted(one, by).guide[0]
    there = np.sin((y - by) / 3 + (x - by) / 5)
    np.testing.assert_allclose(moved[8:-8, 8:-8], there[8:-8, 8:-8], atol=1e-3)
    assert disturbances.shifted(replace(one, guide=None), by).guide is None


@given(st.tuples(st.integers(8, 40), st.integers(8, 40)), st.integers(0, 9))
def test_blobs_cover_exactly_their_share_and_come_back_by_their_seed(shape, seed):
    mask = disturbances.blobs(shape, 0.1, seed)
    assert mask.sum() == round(0.1 * mask.size)
    np.testing.assert_array_equal(mask, disturbances.blobs(shape, 0.1, seed))


def test_blobs_are_blobs_and_differ_by_seed():
    mask = disturbances.blobs((64, 96), 0.1, 1)
    assert label(mask)[1] < mask.sum() / 20
    assert (mask != disturbances.blobs((64, 96), 0.1, 2)).any()


def test_holes_take_the_same_ground_from_scene_and_reference():
    one = pair((13, 9), seed=3)
    holed = disturbances.holed(one, 0.1)
    gone = np.isnan(holed.scene)
    assert gone[0].sum() == round(0.1 * 13 * 9)
    np.testing.assert_array_equal(np.isnan(holed.reference), np.kron(gone, np.ones((1, 3, 3))).astype(bool))
    np.testing.assert_array_equal(holed.scene[~gone], one.scene[~gone])
    assert np.isfinite(one.scene).all()


@pytest.mark.parametrize(("name", "times"), [("psf", 1.0), ("psf+30", 1.3), ("psf-30", 0.7)])
def test_a_wrong_psf_is_wider_or_narrower_and_in_place(name, times):
    told = disturbances.DISTURBANCES[name].apply(pair()).psf
    right = 3 / np.pi * np.sqrt(-2 * np.log(0.3))
    assert told.sigma_px == pytest.approx((times * right,) * 2, rel=1e-3)
    assert told.shift_px == pytest.approx((0, 0), abs=1e-4)


@pytest.mark.parametrize("percent", [0.1, 0.3, 1])
def test_guide_noise_is_a_share_of_the_guides_full_scale_and_the_same_every_time(percent):
    one = replace(pair((30, 20)), guide=np.full((3, 90, 60), 40, np.float32))
    noisy = disturbances.REALITIES[f"guide-noise-{percent}"].apply(one)
    assert (noisy.guide - one.guide).std() == pytest.approx(0.4 * percent, rel=0.03)
    np.testing.assert_array_equal(noisy.guide, disturbances.with_guide_noise(one, percent / 100).guide)
    assert disturbances.with_guide_noise(replace(one, guide=None), 0.1).guide is None


@given(st.floats(0.01, 1e4), st.integers(1, 4), st.integers(0, 9))
def test_eight_bit_rounds_to_255_steps_of_the_full_scale(scale, count, seed):
    guide = (scale * np.random.default_rng(seed).random((count, 40, 30))).astype(np.float32)
    one = replace(pair(), guide=guide)
    rounded = disturbances.REALITIES["guide-8bit"].apply(one).guide
    step = disturbances.full_scale(guide) / 255
    below = guide <= disturbances.full_scale(guide)
    assert np.abs(rounded - guide)[below].max() <= 0.5001 * step
    assert len(np.unique(rounded)) <= 256


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_jpeg_of_a_lower_quality_is_farther_from_the_guide(count):
    one = replace(
        pair(), guide=smooth((64, 48), count) + 0.1 * np.random.default_rng(0).random((count, 64, 48), np.float32)
    )
    errors = [
        np.abs(disturbances.REALITIES[name].apply(one).guide - one.guide).mean()
        for name in ("guide-8bit", "guide-jpeg-90", "guide-jpeg-75")
    ]
    assert errors[0] < errors[1] < errors[2] < 0.1


def test_a_collinear_guide_keeps_a_tenth_of_its_colours_and_its_response_mixes_alike():
    cube = smooth((64, 48), 6)
    response = np.random.default_rng(0).random((3, 6))
    guide = np.tensordot(response, cube, 1).astype(np.float32)
    mixed = disturbances.REALITIES["guide-collinear"].apply(replace(pair(), guide=guide, response=response))
    below = guide.max(0) < disturbances.full_scale(guide)
    # Half a step of 8 bit.
    allowed = 0.6 / 255 * disturbances.full_scale(guide)
    assert np.abs(np.tensordot(mixed.response, cube, 1) - mixed.guide)[:, below].max() < allowed
    colours = (mixed.guide - mixed.guide.mean(0), guide - guide.mean(0))
    assert np.std(colours[0]) == pytest.approx(0.1 * np.std(colours[1]), rel=0.1)


def test_noise_of_a_scene_is_in_units_of_255():
    one = replace(pair(), scene=np.zeros((4, 60, 70), np.float32))
    assert disturbances.REALITIES["noise-3"].apply(one).scene.std() == pytest.approx(3 / 255, rel=0.03)


# ---- combinations ------------------------------------------------------------------------


def test_the_grid_has_no_combination_twice_and_none_that_means_nothing():
    grid = combinations.chosen([])
    assert len({one.key for one in grid}) == len(grid) > 900
    assert {one.scene for one in grid} == set(combinations.DEFAULT)
    for one in grid:
        model = combinations.models()[one.model]
        assert model.guided == (one.guide != "none") or model.name in ("auto", "learned")
        assert one.guide != "none" or not one.disturbance.startswith("shift")
        assert combinations.takes_psf(model) or not one.disturbance.startswith("psf")
        assert one.disturbance == "none" or (
            one.degradation == "mtf" and one.ratio == (2 if one.scene == "dsen2" else 4)
        )


def test_our_networks_run_with_and_without_a_guide():
    grid = combinations.chosen(["jasper", "x4", "mtf", "disturbance=none"])
    unguided = {one.model for one in grid if one.guide == "none"}
    assert unguided == {"interpolation", "bicubic", "auto", "learned"}
    assert {one.model for one in grid if one.guide == "rgb"} >= {"auto", "learned", "regression", "gsa"}


def test_only_matches_whole_values():
    kept = combinations.chosen(["jasper,enmap", "mtf", "x4", "rgb", "none"])
    assert {one.scene for one in kept} == {"jasper", "enmap"}
    assert {(one.degradation, one.disturbance, one.guide) for one in kept} == {("mtf", "none", "rgb")}
    assert {one.scene for one in combinations.chosen(["cave-beads", "8"])} == {"cave-beads"}
    assert {one.disturbance for one in combinations.chosen(["enmap", "guide=none"])} > {"none", "holes"}
    assert {one.disturbance for one in combinations.chosen(["enmap", "disturbance=none"])} == {"none"}


def test_the_grid_of_reality_is_chosen_by_its_word_and_has_nothing_twice():
    real = combinations.chosen(["reality"])
    assert len({one.key for one in real}) == len(real) > 500
    assert {one.disturbance for one in real} == {"none", *disturbances.REALITIES}
    assert {one.degradation for one in real} == {"mtf", "matlab-bicubic", *degradations.BLURS}
    assert {one.model for one in real} == {"auto", "regression", "bicubic", *contenders.CONTENDERS}
    few = combinations.chosen(["reality", "jasper", "guide-collinear"])
    assert {(one.scene, one.guide) for one in few} == {("jasper", "rgb")}
    assert not {one.key for one in few} & {one.key for one in combinations.chosen(["jasper"])}


def test_only_that_names_nothing_is_refused():
    with pytest.raises(OptionError, match="jasper 16"):
        combinations.chosen(["jasper", "16"])


# ---- the run -----------------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch, tmp_path):
    """A made-up scene of 40 x 56 in the place of the files; the path of the table."""
    nm = np.linspace(420, 900, 7)
    monkeypatch.setattr(scenes, "DATA", tmp_path)
    monkeypatch.setitem(scenes.SCENES, "made", lambda: scenes.Scene(smooth((40, 57), bands=7), nm))
    scenes.load.cache_clear()
    combinations.undisturbed.cache_clear()
    yield tmp_path / "results.csv"
    scenes.load.cache_clear()
    combinations.undisturbed.cache_clear()


def go(path, *words):
    run.main(["--only", "made", *words, "--jobs", "1", "--output", str(path)])
    return table.read(path)


def test_a_row_has_the_scores_and_names_its_protocol(made):
    (row,) = go(made, "bicubic", "mtf", "none", "4")[:1]
    assert (row["protocol"], row["psf"], row["bands"], row["size"]) == ("mtf", "unused", "7", "40x56")
    assert (row["error"], row["missing_percent"]) == ("", "0")
    one = combinations.Combination("made", "none", 4, "mtf", "none", "bicubic")
    estimate, _ = run.sharpened(one.pair(), one)
    error = np.mean((estimate.astype(float) - one.pair().reference) ** 2)
    assert float(row["psnr_db"]) == pytest.approx(-10 * np.log10(error), abs=1e-3)


def test_every_disturbance_and_degradation_runs(made):
    rows = go(made, "regression,bicubic")
    assert not [row["error"] for row in rows if row["error"]]
    assert {row["protocol"] for row in rows} == {
        *degradations.DEGRADATIONS,
        *(f"mtf {name}" for name in disturbances.DISTURBANCES if name != "none"),
    }
    by = {tuple(row[k] for k in ("guide", "protocol", "model")): row for row in rows}
    assert by["pan", "mtf psf+30", "regression"]["psf"] == "given x1.3"
    assert by["pan", "mtf", "regression"]["psf"] == "blind"
    worst = float(by["rgb", "mtf psf+30", "regression"]["psnr_db"])
    assert float(by["rgb", "mtf psf", "regression"]["psnr_db"]) > worst + 1


def test_the_grid_of_reality_runs(made, monkeypatch):
    monkeypatch.setattr(combinations, "REAL_SCENES", ("made",))
    monkeypatch.setattr(combinations, "TARGET_SCENES", ())
    rows = go(
        made,
        "reality",
        "4",
        "rgb,none",
        "none,guide-8bit,guide-jpeg-75,guide-collinear",
        "mtf,cubic",
        "auto,fuse,glp-ridge,spline",
    )
    assert not [row["error"] for row in rows if row["error"]]
    psf = {row["model"]: row["psf"] for row in rows if row["degradation"] == "mtf"}
    assert psf == {"auto": "blind", "fuse": "given", "glp-ridge": "given", "spline": "unused"}
    text = "\n".join(reality.section(rows))
    assert "| rgb | guide-collinear | 1 |" in text


def test_a_row_once_there_is_not_computed_again_and_a_torn_one_is(made, monkeypatch):
    rows = go(made, "bicubic", "none")
    whole = made.read_bytes()
    made.write_bytes(whole[:-20])
    counted = []
    measured = run.measured
    monkeypatch.setattr(run, "measured", lambda one: counted.append(one) or measured(one))
    again = go(made, "bicubic", "none")
    assert [one.key for one in counted] == [table.key(rows[-1])]
    changing = {"seconds", "date"}
    assert [{k: v for k, v in r.items() if k not in changing} for r in again] == [
        {k: v for k, v in r.items() if k not in changing} for r in rows
    ]
    go(made, "bicubic", "none")
    assert len(counted) == 1


def test_a_heading_torn_in_the_middle_is_written_again(made):
    made.write_text("scene,gui")
    assert go(made, "bicubic", "none")[0]["scene"] == "made"


def test_a_failure_is_recorded_in_one_line(made, monkeypatch):
    def fail(*_):
        raise InputError("It has 2 bands,\n not 3.")

    monkeypatch.setattr(run, "sharpened", fail)
    rows = go(made, "bicubic", "mtf", "none")
    assert {row["error"] for row in rows} == {"InputError: It has 2 bands, not 3."}
    assert rows[0]["psnr_db"] == ""


def test_a_mistake_of_the_harness_is_not_recorded(made, monkeypatch):
    monkeypatch.setattr(run, "sharpened", lambda *_: {}["nothing"])
    with pytest.raises(KeyError, match="nothing"):
        go(made, "bicubic")
    assert not made.exists()


def test_a_spent_budget_begins_no_run(made, capsys):
    assert go(made, "bicubic", "disturbance=none", "--budget", "0") == []
    assert "0 new, 0 already there, 3 left" in capsys.readouterr().out


def test_list_runs_nothing(made, capsys):
    assert go(made, "bicubic", "mtf", "--list") == []
    assert capsys.readouterr().out == "made none x4 mtf none bicubic\nmade none x4 mtf holes bicubic\n"


def test_what_a_product_leaves_out_is_counted():
    reference = np.ones((1, 4, 5), np.float32)
    reference[0, 0] = np.nan
    made_up = np.ones((1, 4, 5), np.float32)
    made_up[0, :2] = np.nan
    assert run.missing_percent(made_up, reference) == pytest.approx(100 * 5 / 15)


def test_missing_data_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(scenes, "DATA", tmp_path / "nowhere")
    scenes.load.cache_clear()
    with pytest.raises(InputError, match="nowhere"):
        scenes.load("jasper")


def test_a_table_of_other_columns_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("scene,psnr\n")
    with pytest.raises(InputError, match=r"t\.csv has other columns"):
        table.read(tmp_path / "t.csv")


# ---- the page ----------------------------------------------------------------------------


def row(model, psnr, *, guide="pan", disturbance="none", sam=3.0, scene="jasper", error=""):
    scores = dict.fromkeys(table.SCORES, "") if error else dict.fromkeys(table.SCORES, "0.5")
    if not error:
        scores |= {"psnr_db": str(psnr), "sam_deg": str(sam)}
    key = dict(zip(table.KEY, (scene, guide, "4", "mtf", disturbance, model), strict=True))
    rest = {"bands": "198", "size": "96x100", "seconds": "" if error else "0.5", "version": "9.8", "date": "2026-02-03"}
    return {**dict.fromkeys(table.COLUMNS, ""), **key, **scores, **rest, "error": error}


ROWS = [
    row("auto", 30.0),
    row("gsa", 31.254, sam=2.0),
    row("brovey", 0, error="ValueError: too few"),
    row("interpolation", 28.0, guide="none", sam=3.004),
    row("bicubic", 27.0, guide="none", sam=3.0),
    row("auto", 33.0, scene="enmap"),
    row("gsa", 33.001, scene="enmap", sam=3.001),
    row("auto", 29.25, disturbance="shift-1"),
    row("auto", 31.0, scene="enmap", disturbance="shift-1"),
]


def test_the_best_figure_is_bold_and_a_run_without_guide_serves_every_row():
    text = results.score_table(Runs(ROWS), "mtf").splitlines()
    assert text[0] == "| PSNR / SAM / ERGAS / Q2n | auto | interpolation | bicubic | brovey | gsa |"
    assert text[2] == (
        "| jasper x4 pan | 30.00 / 3.00 / **0.50** / **0.500** | 28.00 / 3.00 / **0.50** / **0.500** "
        "| 27.00 / 3.00 / **0.50** / **0.500** | failed | **31.25** / **2.00** / **0.50** / **0.500** |"
    )
    assert text[3].startswith("| enmap x4 pan | **33.00** / **3.00** / **0.50** / **0.500** |  |  |  | **33.00**")


def test_a_baseline_ahead_is_said_with_its_lead_and_a_tie_in_print_is_none():
    text = "\n".join(results.verdicts(Runs(ROWS), "mtf"))
    assert "* PSNR: in 1 of 2 cases: jasper x4 pan (gsa by 1.25 dB)." in text
    assert "* SAM: in 1 of 2 cases: jasper x4 pan (gsa by 1.00 degrees)." in text
    assert "* Q2n: in none of 2 cases." in text
    alone = [row("auto", 27.5, guide="none"), *ROWS]
    text = "\n".join(results.verdicts(Runs(alone), "mtf"))
    assert "ahead of `auto` without a guide:\n* PSNR: in 1 of 1 case: jasper x4 (interpolation by 0.50 dB)." in text


def test_what_the_networks_add_is_said_against_the_start_they_correct():
    rows = [
        *ROWS,
        row("regression", 29.5, sam=3.3),
        row("regression", 33.04, scene="enmap"),
        row("learned", 29.0),
        row("auto", 28.5, guide="none", sam=1.502),
        # Learned from, so it does not count.
        row("regression", 20.0, scene="samson"),
        row("auto", 30.0, scene="samson"),
    ]
    lines = "\n".join(results.learned(Runs(rows))).splitlines()
    assert lines[-2] == ("| `mtf` | pan | 2 | +0.23 | -0.04 (enmap x4 pan) | -0.50 | -0.50 (jasper x4 pan) | 0.955 |")
    assert lines[-1] == "| `mtf` | none | 1 | +0.50 | +0.50 (jasper x4) |  |  | 0.500 |"
    assert list(results.learned(Runs(ROWS))) == []


def test_robustness_is_the_change_against_the_undisturbed_run():
    text = "\n".join(results.robustness(Runs(ROWS)))
    assert "| auto |  | -1.38, worst -2.00 (enmap x4 pan) |" in text
    assert "| jasper x4 pan |  | -0.75 |" in text


def test_the_page_names_versions_dates_and_failures():
    text = results.page(Runs(ROWS))
    assert "9 runs of dualsr-geo 9.8, 2026-02-03." in text
    assert "* jasper pan 4 mtf none brovey: ValueError: too few" in text
    assert "| jasper | 198 | 96x100 |" in text
    assert "| auto | 0.50 | 0.50 | 0.263 |" in text


def test_the_same_rows_give_the_same_page_and_plots(tmp_path):
    found = []
    for name, rows in (("a", ROWS), ("b", ROWS[::-1])):
        for each in rows:
            table.append(tmp_path / f"{name}.csv", each)
        results.main([str(tmp_path / f"{name}.csv"), str(tmp_path / name / "results.md")])
        found.append([p.read_bytes() for p in sorted((tmp_path / name).rglob("*")) if p.is_file()])
    assert len(found[0]) == 3
    assert found[0] == found[1]


def test_an_empty_table_makes_no_page(tmp_path):
    with pytest.raises(InputError, match=r"none\.csv has no runs"):
        results.main([str(tmp_path / "none.csv"), str(tmp_path / "page.md")])
    assert not (tmp_path / "page.md").exists()


def test_cases_stand_in_the_order_of_the_scenes():
    assert Runs(ROWS).cases("mtf") == [Case("jasper", 4, "pan"), Case("enmap", 4, "pan")]


def real_row(model, psnr, *, guide="rgb", disturbance="none", sam=3.0, degradation="mtf", scene="jasper"):
    made = row(model, psnr, guide=guide, disturbance=disturbance, sam=sam, scene=scene)
    return {**made, "degradation": degradation}


def test_what_reality_costs_is_ours_against_clean_and_against_others():
    rows = [
        real_row("auto", 31.0, sam=5.0),
        real_row("auto", 30.25, disturbance="guide-8bit", sam=5.5),
        real_row("auto", 37.0, scene="sandiego", sam=1.0),
        real_row("auto", 36.75, disturbance="guide-8bit", scene="sandiego", sam=1.1),
        real_row("fuse", 30.0, disturbance="guide-8bit"),
        real_row("fuse", 37.0, disturbance="guide-8bit", scene="sandiego"),
        real_row("bicubic", 26.0, guide="none"),
        real_row("auto", 27.0, guide="none", degradation="box", sam=9.0),
        real_row("spline", 26.5, guide="none", degradation="box", sam=10.0),
    ]
    text = "\n".join(reality.section(rows))
    assert "| rgb | guide-8bit | 2 | -0.50 (-0.75) | 1.10 | +4.25 (+4.25) | +0.00 (-0.25) |  |  |" in text
    assert "| box | +0.50 (+0.50), 0.90 (0.90) |" in text
    assert not list(reality.section([real_row("auto", 31.0)]))


# ---- real files --------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize("name", ["jasper", "samson", "moffett", "abu-airport-4", "hsitk", "sn6", "dsen2", "landsat"])
def test_scenes_are_in_0_to_1_and_their_guides_lie_on_them(name):
    if not scenes.DATA.is_dir():
        pytest.skip(f"no {scenes.DATA}")
    scene = scenes.cut(scenes.load(name), 4)
    assert scene.cube.max() <= 1
    assert scene.cube.min() > -0.01
    assert len(scene.wavelengths) == len(scene.cube)
    assert scene.cube.any((1, 2)).all()
    kind = combinations.guides(name)[-1]
    lies = np.corrcoef(scenes.guide(scene, kind).mean(0).ravel(), scene.cube[:4].mean(0).ravel())[0, 1]
    assert lies > 0.7


@pytest.mark.data
@pytest.mark.slow
def test_processes_write_what_one_would(tmp_path):
    if not scenes.DATA.is_dir():
        pytest.skip(f"no {scenes.DATA}")
    command = [sys.executable, str(BENCHMARK / "run.py"), "--only", "moffett", "bicubic,interpolation", "mtf"]
    read = []
    for jobs in ("1", "2"):
        path = tmp_path / f"{jobs}.csv"
        subprocess.run([*command, "--jobs", jobs, "--output", str(path)], check=True, capture_output=True)
        rows = sorted(table.read(path), key=table.key)
        read.append([(table.key(r), *(r[name] for name in table.SCORES)) for r in rows])
    assert read[0] == read[1]
    assert len(read[0]) == 7


def measured_row(one):
    """Return a row of the table without running anything."""
    row = dict(zip(table.KEY, one.key, strict=True))
    row |= {"protocol": one.protocol, "psf": one.psf, "bands": "3", "size": "40x50", "seconds": "1.5"}
    row |= {"version": "0.2.0", "date": "2026-11-30", "psnr_db": "30", "sam_deg": "2", "ergas": "3", "q2n": "0.9"}
    return row


@pytest.fixture
def without_runs(monkeypatch):
    """Runs of no length: their rows are written at once, two of each call."""
    calls = []

    def complete(todo, output, jobs, deadline):
        calls.append((output.name, len(todo), jobs))
        for one in todo[:2]:
            table.append(output, measured_row(one))
        return max(len(todo) - 2, 0)

    monkeypatch.setattr(regenerate.run, "complete", complete)
    return calls


# Seven runs of the default grid, none of the other.
WORDS = ["--only", "moffett", "bicubic,interpolation", "mtf"]


def test_one_command_continues_until_the_grid_is_whole_and_then_writes_the_page(tmp_path, without_runs, capsys):
    command = [*WORDS, "--folder", str(tmp_path / "new"), "--jobs", "3"]
    # Two rows a call.
    assert [regenerate.main(command) for _ in range(3)] == [1, 1, 1]
    assert not (tmp_path / "new" / "results.md").exists()
    assert "1 runs are left. Run the same command again." in capsys.readouterr().out
    assert regenerate.main(command) == 0
    assert [count for name, count, _ in without_runs if name == "results.csv"] == [7, 5, 3, 1]
    assert {jobs for *_, jobs in without_runs} == {3}
    page = (tmp_path / "new" / "results.md").read_text()
    assert f"Commit {environment.commit()}; python " in page
    assert "torch " in page
    assert results.BY_HAND in page
    # A part does not replace the tables of the page of the documentation.
    assert "moffett,none,4,mtf,none,bicubic,mtf,unused,3,40x50,30" not in (BENCHMARK / "results.csv").read_text()


def test_tables_of_another_commit_are_not_continued(tmp_path, without_runs):
    before = {**environment.current(), "commit": "0123456789ab"}
    environment.write(tmp_path, before)
    with pytest.raises(
        InputError, match=r"has runs of commit 0123456789ab and \w+.*Remove it, or give another --folder"
    ):
        regenerate.main([*WORDS, "--folder", str(tmp_path)])
    assert without_runs == []
    # Another machine gives the same scores.
    environment.write(tmp_path, {**environment.current(), "processor": "another", "cores": "64"})
    regenerate.main([*WORDS, "--folder", str(tmp_path)])


def test_the_command_states_what_is_left_and_how_long_it_takes(tmp_path, without_runs, capsys):
    assert regenerate.main([*WORDS, "--folder", str(tmp_path / "new"), "--list"]) == 0
    text = capsys.readouterr().out
    assert "7 of 7 runs to do" in text
    assert "minutes with --jobs 2" in text
    assert without_runs == []
    assert not (tmp_path / "new").exists()
    whole = regenerate.grids(tmp_path, [])
    assert regenerate.expected_minutes(whole, 2) < regenerate.BUDGET_MIN
    with pytest.raises(OptionError, match="No combination of either grid"):
        regenerate.grids(tmp_path, ["nowhere"])
