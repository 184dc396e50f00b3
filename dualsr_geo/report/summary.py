"""Sentences that describe a run to a person, on the command line and in the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualsr_geo.registration.shift_description import describe_move

# A correction that is so many times stronger or weaker on a degraded scene than on the scene itself is mentioned.
MIN_ENERGY_RATIO = 1.5
# A smaller gain by denoising is not given as a number, dB.
SMALLEST_GAIN_DB = 0.1
# Lattice from which a sentence is written, without a guide and beyond the guide's: clean pairs: 0.25 and 0.03.
MIN_LATTICE = 0.3
MIN_GUIDED_LATTICE = 0.15
# Overshoot beyond the guide's from which a sentence is written; clean pairs have 0.08 at most.
MIN_OVERSHOOT = 0.2
# Times from here on are given in minutes, seconds.
LONG_S = 300


def describe_run(result: Mapping[str, Any], *, verbose: bool = False) -> str:
    """Return what `dualsr_geo.upscale` returned as a few lines of text; with `verbose` also how it was tested."""
    if result.get("already_finished"):
        return f"{result['output']} is already finished; nothing was computed."
    height, width = result["shape"]
    sensor = result["sensor"]
    bands = counted(result["bands"], "band")
    lines = [
        f"{result['output']}: {bands}, {height} x {width} pixels, {result['scale']}x sharper",
        *result["opened"],
        *([] if sensor is None else [sensor["said"]]),
        *(f"Guide: {sentence}" for sentence in describe_guide(result["guide"])),
        *describe_assumption(result["psf"]),
        *(f"Network: {sentence}" for sentence in describe_correction(result["correction"], verbose=verbose)),
        *(f"Fine stage: {s}" for s in describe_fine_stage(result["refinement"], result["fine"], verbose=verbose)),
        *(f"Self-test: {sentence}" for sentence in describe_detail(result["detail"])),
        *(f"Artefacts: {sentence}" for sentence in describe_artefacts(result.get("artefacts"))),
        *(f"Consistency: {sentence}" for sentence in describe_consistency(result["consistency"])),
        *(f"Indices: {sentence}" for sentence in describe_indices(result.get("indices") if verbose else None)),
        *(describe_measurements(result) if verbose else []),
        *(f"Classes: the scene classification is kept in {c}" for c in [result.get("classification")] if c),
        describe_cost(result),
    ]
    return "\n".join(lines)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 band``, ``2 bands``."""
    return f"{number} {noun}{'s' * (number != 1)}"


def describe_measurements(result: Mapping[str, Any]) -> list[str]:
    """Return what was measured of the blur and the noise of the scene, for those who want to know.

    Parameters
    ----------
    result : mapping
        As returned by `dualsr_geo.upscale`.
    """
    psf, noise = result["psf"], [std for std in result["noise"]["std_per_band"] if std is not None]
    sigma_y, sigma_x = psf["sigma_px"]
    gain = "" if psf.get("gain") is None else f", MTF gain {psf['gain']:.2f} at Nyquist"
    lines = [f"Blur: sigma {sigma_y:.2f} x {sigma_x:.2f} px of the product{gain} ({psf['source']})"]
    if noise:
        lines.append(f"Noise of the scene: standard deviation {min(noise):.3g} to {max(noise):.3g}, by band")
    return [*lines, f"Model: {result['model']}, fine stage {result['fine']}"]


def describe_guide(guide: Mapping[str, Any] | None) -> list[str]:
    """Return sentences on how the guide fits the scene; none without a guide.

    Parameters
    ----------
    guide : mapping or None
        ``guide`` of a run's result.
    """
    if guide is None:
        return []
    relevance = [r for r in guide["relevance"] or () if r is not None]
    mean = sum(relevance) / len(relevance) if relevance else 0.0
    move = describe_move(guide["shift_px"], guide["moved_px"], guide["shift_error_px"])
    each = guide.get("coverage_by_guide")
    together = f" (the guides {', '.join(map(share, each))})" if each else ""
    sentences = [
        f"covers {share(guide['coverage'])} of the scene{together}, {move}, explains {mean:.0%} of the bands' variance"
    ]
    if field := guide["field"]:
        sentences.append(
            f"is distorted by {field['rms_px']:.2f} px (root mean square), {field['largest_px']:.2f} px at most; "
            "the distortion is corrected"
        )
    sentences += _describe_noise(guide.get("noise"))
    if left_out := guide.get("bands_left_out"):
        sentences.append(
            f"{counted(left_out, 'band')} that were sharpened first are not used, since with them more of the detail "
            "contradicts the scene"
        )
    if guide["withheld"]:
        sentences.append(
            f"ignored in {guide['withheld']:.1%} of the scene, where it disagrees with the scene (changes, clouds, shadows)"
        )
    return sentences


def share(value: float) -> str:
    """Return a share in percent, in which only a whole is 100 %."""
    return "more than 99%" if 0.995 <= value < 1 else f"{value:.0%}"


def describe_assumption(psf: Mapping[str, Any]) -> list[str]:
    """Return the sentence on a blur that no guide shows; none where it is given or a guide shows it."""
    assumption = psf.get("assumption")
    return [] if assumption is None else [assumption]


def _describe_noise(noise: Mapping[str, Any] | None) -> list[str]:
    """Return a sentence on the noise of the guide if the guide is denoised; none if it is used as it is."""
    if noise is None or noise["filter_std_per_band"] is None:
        return []
    std = ", ".join(f"{v:.3g}" for v in noise["std_per_band"])
    kind = "" if noise["white"] else " of a compressed image"
    size = f"{noise['gain_db']:.1f}" if noise["gain_db"] >= SMALLEST_GAIN_DB else f"less than {SMALLEST_GAIN_DB:g}"
    return [
        f"has noise{kind} (standard deviation {std}) and is denoised, which lowers the error by {size} dB in a test"
    ]


def describe_correction(correction: Mapping[str, Any] | None, *, verbose: bool = False) -> list[str]:
    """Return a sentence for each network: the strength at which it is used, and with `verbose` the reason.

    Parameters
    ----------
    correction : mapping or None
        ``correction`` of a run's result.
    verbose : bool
    """
    correction = correction or {}
    sentences = []
    for network, shrinkage in correction.items():
        place = " where there is no guide" if network != "guided" and "guided" in correction else ""
        sentences.append(_describe_strength(shrinkage, place, verbose=verbose))
    return sentences


def describe_fine_stage(refinement: Mapping[str, Any] | None, fine: str, *, verbose: bool = False) -> list[str]:
    """Return a sentence on the strength at which a fine stage is used; none for a stage that is not fitted.

    Parameters
    ----------
    refinement : mapping or None
        ``refinement`` of a run's result.
    fine : str
        ``fine`` of the same.
    verbose : bool
        Whether to return the reason too.
    """
    return [] if refinement is None else [_describe_strength(refinement, f" ({fine})", verbose=verbose)]


def _describe_strength(shrinkage: Mapping[str, Any], place: str, *, verbose: bool) -> str:
    """Return at which strength a correction is used, and why."""
    pairs = shrinkage["wald_pairs"]
    if not shrinkage["share"]:
        reason = "a test on this scene does not support it" if pairs else "it cannot be tested on this scene"
        text = f"not used{place}, since {reason}"
    else:
        text = f"used at {shrinkage['share']:.0%} strength{place}" + (
            ", chosen by testing on this scene" if pairs else ""
        )
    tests = "; ".join(_describe_pair(pair) for pair in pairs)
    return f"{text} (best strength when the degraded scene is restored: {tests})" if verbose and tests else text


def _describe_pair(pair: Mapping[str, Any]) -> str:
    error = "" if pair["error"] is None else f" +- {pair['error']:.0%}"
    # Without variance, as in a constant scene, there is no excess to compare.
    ratio = max(pair["excess"], 1 / pair["excess"]) if pair["excess"] else 1.0
    comparison = f", where the correction is {ratio:.2g} times {'weaker' if pair['excess'] > 1 else 'stronger'}"
    return f"{pair['best']:.0%}{error} at {pair['ratio']}x{comparison if ratio > MIN_ENERGY_RATIO else ''}"


def describe_detail(detail: Mapping[str, Any] | None) -> list[str]:
    """Return a sentence on the detail assessment; none if there is none.

    Parameters
    ----------
    detail : mapping or None
        ``detail`` of a run's result.
    """
    if detail is None:
        return []
    mean = detail["mean"]
    guide, neither = mean["hallucination_guide"], mean["hallucination_neither"]
    origin = f" ({guide:.0%} copied from the guide)" if "contradicted" in mean else ""
    test = f"made {detail['wald_ratio']} times coarser and sharpened again, the scene has"
    shares = f"{mean['improvement']:.0%} of the true detail recovered and {mean['omission']:.0%} missed"
    return [f"{test} {shares}; false detail {guide + neither:.0%}{origin}"]


def describe_artefacts(artefacts: Mapping[str, Any] | None) -> list[str]:
    """Return sentences on a lattice and on overshoot that are larger than those of clean scenes; none otherwise.

    Parameters
    ----------
    artefacts : mapping or None
        ``artefacts`` of a run's result.
    """
    if artefacts is None:
        return []
    sentences = []
    lattice, guide = artefacts["lattice"] or 0.0, artefacts["lattice_guide"]
    if lattice - (guide or 0.0) >= (MIN_LATTICE if guide is None else MIN_GUIDED_LATTICE):
        reference = "0 without a lattice" if guide is None else f"the guide has {guide:.2f}"
        sentences.append(
            f"the pixels of the scene show in the product as a lattice of index {lattice:.2f} ({reference}); if the "
            "scene's pixels are repeated, sharpen the scene on its own grid, and otherwise assume a narrower blur by "
            "a larger --mtf-gain"
        )
    overshoot, guide = artefacts["overshoot"] or 0.0, artefacts["overshoot_guide"]
    if overshoot - (guide or 0.0) >= MIN_OVERSHOOT:
        reference = "" if guide is None else f" (of the guide {guide:.0%})"
        sentences.append(
            f"{overshoot:.0%} of the product's pixels are beyond the range of the scene's pixels around them"
            f"{reference}: the blur is assumed too wide; narrow it by a larger --mtf-gain"
        )
    return sentences


def describe_consistency(consistency: Mapping[str, Any]) -> list[str]:
    """Return a sentence on how the degraded product differs from the scene; none if no pixel is valid.

    Parameters
    ----------
    consistency : mapping
        ``consistency`` of a run's result.
    """
    if consistency["rmse"] is None:
        return []
    angle = "" if consistency["sam_deg"] is None else f" and {consistency['sam_deg']:.2g} degrees of spectral angle"
    return [
        f"degraded back to the scene's pixels, the product matches the scene to {consistency['rmse']:.3g} (RMSE){angle}"
    ]


def describe_indices(indices: Mapping[str, Any] | None) -> list[str]:
    """Return a sentence on how the spectral indices of the product differ from those of the scene; none without any.

    Parameters
    ----------
    indices : mapping or None
        ``indices`` of a run's result.
    """
    if not indices:
        return []
    return [f"degraded back to the scene's pixels, the product has errors of {listed_indices(indices)}"]


def listed_indices(indices: Mapping[str, Any]) -> str:
    """Return the bias and the RMSE of spectral indices as text: ``NDVI +0.001 (RMSE 0.004)``."""
    return ", ".join(f"{name.upper()} {e['bias']:+.2g} (RMSE {e['rmse']:.2g})" for name, e in indices.items())


def describe_cost(result: Mapping[str, Any]) -> str:
    """Return time and memory of a run."""
    seconds, memory = result["seconds"], result["peak_memory_bytes"]
    time = f"{seconds:.1f} s" if seconds < LONG_S else f"{seconds / 60:.0f} min"
    size = f"{memory / 1e9:.1f} GB" if memory >= 1e9 else f"{memory / 1e6:.0f} MB"
    return f"Finished in {time}; peak memory {size}."
