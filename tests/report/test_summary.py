"""Sentences that describe a run."""

from __future__ import annotations

import pytest

from dualsr_geo.report.summary import (
    describe_artefacts,
    describe_consistency,
    describe_correction,
    describe_detail,
    describe_fine_stage,
    describe_guide,
    describe_run,
    share,
)

BEST = "best strength when the degraded scene is restored"


def guide(**changes):
    facts = {
        "coverage": 0.98,
        "shift_px": [1.5, -2.0],
        "moved_px": [1.5, -2.0],
        "shift_error_px": [0.02, 0.03],
        "relevance": [0.9, None, 0.7],
        "field": None,
        "withheld": 0.0,
    }
    return {**facts, **changes}


def result(**changes):
    facts = {
        "output": "out.tif",
        "bands": 8,
        "shape": [400, 300],
        "scale": 4,
        "opened": ["Opened as SAFE."],
        "sensor": {"said": "Sensor: enmap"},
        "guide": guide(),
        "correction": {"guided": {"share": 0.8, "wald_pairs": []}},
        "refinement": None,
        "fine": "consistency",
        "model": "auto",
        "psf": {
            "assumption": "An MTF gain of 0.50 is assumed.",
            "sigma_px": [1.2, 1.3],
            "gain": 0.31,
            "source": "guide",
        },
        "noise": {"std_per_band": [2.0, None, 3.5]},
        "detail": None,
        "consistency": {"rmse": 0.01234, "sam_deg": 0.512},
        "seconds": 12.34,
        "peak_memory_bytes": 512 * 2**20,
    }
    return {**facts, **changes}


def test_a_run_is_described_line_by_line():
    shift = "lay 1.5 px too low and 2.0 px too far left (+-0.03 px) and was moved back"
    assert describe_run(result()).splitlines() == [
        "out.tif: 8 bands, 400 x 300 pixels, 4x sharper",
        "Opened as SAFE.",
        "Sensor: enmap",
        f"Guide: covers 98% of the scene, {shift}, explains 80% of the bands' variance",
        "An MTF gain of 0.50 is assumed.",
        "Network: used at 80% strength",
        "Consistency: degraded back to the scene's pixels, the product matches the scene to 0.0123 (RMSE) and 0.51 degrees of spectral angle",
        "Finished in 12.3 s; peak memory 537 MB.",
    ]


def test_verbose_adds_what_was_measured():
    plain, verbose = (describe_run(result(), verbose=v).splitlines() for v in (False, True))
    assert [line for line in verbose if line not in plain] == [
        "Blur: sigma 1.20 x 1.30 px of the product, MTF gain 0.31 at Nyquist (guide)",
        "Noise of the scene: standard deviation 2 to 3.5, by band",
        "Model: auto, fine stage consistency",
    ]
    assert "Noise of the scene" not in describe_run(result(noise={"std_per_band": [None]}), verbose=True)


def test_one_band_is_one_band_and_a_long_run_takes_minutes():
    first, *_, last = describe_run(result(bands=1, seconds=1234.5, peak_memory_bytes=2.55e9)).splitlines()
    assert first.startswith("out.tif: 1 band, ")
    assert last == "Finished in 21 min; peak memory 2.5 GB."


@pytest.mark.parametrize(("value", "text"), [(1.0, "100%"), (0.997, "more than 99%"), (0.9949, "99%"), (0.0, "0%")])
def test_only_the_whole_is_100_percent(value, text):
    assert share(value) == text


@pytest.mark.parametrize(
    ("lattice", "guide", "texts"),
    [
        (None, None, []),
        (0.29, None, []),
        (0.56, None, ["index 0.56 (0 without a lattice)", "on its own grid", "a larger --mtf-gain"]),
        (0.56, 0.2, ["index 0.56 (the guide has 0.20)"]),
        (0.44, 0.3, []),
        (0.46, 0.3, ["index 0.46 (the guide has 0.30)"]),
    ],
)
def test_a_lattice_is_described_where_the_guide_has_none(lattice, guide, texts):
    figures = {"lattice": lattice, "lattice_guide": guide, "overshoot": 0.1, "overshoot_guide": None}
    sentences = describe_artefacts(figures)
    assert len(sentences) == bool(texts)
    assert all(text in sentences[0] for text in texts)


@pytest.mark.parametrize(
    ("overshoot", "guide", "texts"),
    [
        (None, None, []),
        (0.19, None, []),
        (0.612, None, ["61% of the product's pixels", "around them: the blur", "a larger --mtf-gain"]),
        (0.612, 0.2, ["61% of the product's pixels", "(of the guide 20%)"]),
        (0.39, 0.2, []),
    ],
)
def test_overshoot_is_described_where_the_guide_has_less(overshoot, guide, texts):
    figures = {"lattice": 0.1, "lattice_guide": None, "overshoot": overshoot, "overshoot_guide": guide}
    sentences = describe_artefacts(figures)
    assert len(sentences) == bool(texts)
    assert all(text in sentences[0] for text in texts)
    lines = describe_run(result(artefacts=figures)).splitlines()
    assert [line for line in lines if line.startswith("Artefacts: ")] == [f"Artefacts: {s}" for s in sentences]


def test_a_finished_run_is_one_line():
    text = describe_run({"output": "out.tif", "already_finished": True})
    assert text == "out.tif is already finished; nothing was computed."


@pytest.mark.parametrize(("gain_db", "text"), [(2.34, "by 2.3 dB"), (0.04, "by less than 0.1 dB")])
def test_a_denoised_guide_is_described_with_its_noise(gain_db, text):
    noise = {"std_per_band": [0.261, 1.5], "white": True, "filter_std_per_band": [0.3, 1.6], "gain_db": gain_db}
    sentences = describe_guide(guide(noise=noise))
    assert len(sentences) == 2
    assert sentences[1].startswith("has noise (standard deviation 0.261, 1.5) and is denoised")
    assert text in sentences[1]
    compressed = describe_guide(guide(noise={**noise, "white": False}))[1]
    assert compressed.startswith("has noise of a compressed image (standard deviation 0.261, 1.5)")
    assert len(describe_guide(guide(noise={**noise, "filter_std_per_band": None}))) == 1


def test_an_uneven_guide_that_shows_something_else_is_described():
    field = {"rms_px": 0.456, "largest_px": 1.234}
    first, *others = describe_guide(guide(shift_error_px=None, field=field, withheld=0.0123))
    assert "lay 1.5 px too low and 2.0 px too far left and was moved back," in first
    assert others == [
        "is distorted by 0.46 px (root mean square), 1.23 px at most; the distortion is corrected",
        "ignored in 1.2% of the scene, where it disagrees with the scene (changes, clouds, shadows)",
    ]
    assert describe_guide(None) == []


@pytest.mark.parametrize(
    ("excess", "end"),
    [
        (1.4, "90% +- 5% at 4x)"),
        (2.0, "90% +- 5% at 4x, where the correction is 2 times weaker)"),
        (0.25, "where the correction is 4 times stronger)"),
    ],
)
def test_a_correction_is_described_with_its_tests(excess, end):
    pair = {"ratio": 4, "best": 0.9, "error": 0.05, "excess": excess}
    correction = {"guided": {"share": 0.8, "wald_pairs": [pair]}}
    assert describe_correction(correction) == ["used at 80% strength, chosen by testing on this scene"]
    (line,) = describe_correction(correction, verbose=True)
    assert line.startswith(f"used at 80% strength, chosen by testing on this scene ({BEST}: 90%")
    assert line.endswith(end)


def test_a_correction_that_is_not_used_is_described():
    pair = {"ratio": 2, "best": -0.4, "error": None, "excess": 1.0}
    alone = {"share": 0.0, "wald_pairs": [pair]}
    assert describe_correction({"alone": alone}) == ["not used, since a test on this scene does not support it"]
    assert describe_correction({"alone": alone}, verbose=True) == [
        f"not used, since a test on this scene does not support it ({BEST}: -40% at 2x)"
    ]
    assert describe_correction({"alone": {**alone, "wald_pairs": []}}) == [
        "not used, since it cannot be tested on this scene"
    ]
    assert describe_correction(None) == []


def test_the_network_without_a_guide_is_described_by_its_place():
    correction = {"guided": {"share": 0.7, "wald_pairs": []}, "alone": {"share": 0.4, "wald_pairs": []}}
    assert describe_correction(correction) == ["used at 70% strength", "used at 40% strength where there is no guide"]


def test_a_fine_stage_is_described_with_its_tests():
    pairs = [
        {"ratio": 2, "best": 2.15, "error": 0.22, "excess": 1.0},
        {"ratio": 4, "best": 1.07, "error": 0.38, "excess": 1.0},
    ]
    assert describe_fine_stage({"share": 0.41, "wald_pairs": pairs}, "finenet", verbose=True) == [
        f"used at 41% strength (finenet), chosen by testing on this scene ({BEST}: 215% +- 22% at 2x; 107% +- 38% at 4x)"
    ]
    assert describe_fine_stage({"share": 0.0, "wald_pairs": []}, "finenet") == [
        "not used (finenet), since it cannot be tested on this scene"
    ]
    assert describe_fine_stage(None, "none") == []


@pytest.mark.parametrize(
    ("guided", "hallucinated"),
    [(True, "7% (5% copied from the guide)"), (False, "2%")],
)
def test_detail_is_described_on_average(guided, hallucinated):
    mean = {
        "improvement": 0.85,
        "omission": 0.15,
        "hallucination_guide": 0.05 if guided else 0.0,
        "hallucination_neither": 0.02,
        **({"contradicted": 0.2} if guided else {}),
    }
    test = "made 3 times coarser and sharpened again, the scene has 85% of the true detail recovered and 15% missed"
    assert describe_detail({"mean": mean, "wald_ratio": 3}) == [f"{test}; false detail {hallucinated}"]
    assert describe_detail(None) == []


def test_without_a_valid_pixel_there_is_no_consistency():
    assert describe_consistency({"rmse": None, "sam_deg": None}) == []
