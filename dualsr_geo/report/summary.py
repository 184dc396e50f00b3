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


def describe_run(result: Mapping[str, Any]) -> str:
    """Return what `dualsr_geo.upscale` returned as a few lines of text."""
    if result.get("already_finished"):
        return f"{result['output']} is already finished; nothing was computed."
    height, width = result["shape"]
    sensor = result["sensor"]
    lines = [
        f"{result['output']}: {result['bands']} bands, {height} x {width} pixels, {result['scale']}x sharper",
        *result["opened"],
        *([] if sensor is None else [sensor["said"]]),
        *(f"guide: {sentence}" for sentence in describe_guide(result["guide"])),
        *describe_assumption(result["psf"]),
        *describe_correction(result["correction"]),
        *describe_fine_stage(result["refinement"], result["fine"]),
        *(f"detail: {sentence}" for sentence in describe_detail(result["detail"])),
        *(f"artefacts: {sentence}" for sentence in describe_artefacts(result.get("artefacts"))),
        *(f"consistency: {sentence}" for sentence in describe_consistency(result["consistency"])),
        f"cost: {describe_cost(result)}",
    ]
    return "\n".join(lines)


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
    sentences = [f"covers {guide['coverage']:.0%} of the scene, {move}, explains {mean:.0%} of the bands' variance"]
    if field := guide["field"]:
        sentences.append(
            f"is distorted by {field['rms_px']:.2f} px (root mean square), {field['largest_px']:.2f} px at most; "
            "the distortion is corrected"
        )
    sentences += _describe_noise(guide.get("noise"))
    if guide["withheld"]:
        sentences.append(f"is not used in {guide['withheld']:.1%} of the scene, where it shows something else")
    return sentences


def describe_assumption(psf: Mapping[str, Any]) -> list[str]:
    """Return the sentence on a blur that no guide shows; none where it is given or a guide shows it."""
    assumption = psf.get("assumption")
    return [] if assumption is None else [assumption]


def _describe_noise(noise: Mapping[str, Any] | None) -> list[str]:
    """Return a sentence on the noise of the guide if the guide is denoised; none if it is used as it is."""
    if noise is None or noise["filter_std_per_band"] is None:
        return []
    std = ", ".join(f"{v:.3g}" for v in noise["std_per_band"])
    kind = "noise" if noise["white"] else "noise of a compressed image"
    size = f"{noise['gain_db']:.1f}" if noise["gain_db"] >= SMALLEST_GAIN_DB else f"less than {SMALLEST_GAIN_DB:g}"
    gain = f"which lowers the error by {size} dB when the degraded scene is restored"
    return [f"has {kind} of {std} (standard deviation, band by band) and is denoised, {gain}"]


def describe_correction(correction: Mapping[str, Any] | None) -> list[str]:
    """Return a sentence for each learned correction: the fraction that is applied, and the reason.

    Parameters
    ----------
    correction : mapping or None
        ``correction`` of a run's result.
    """
    sentences = []
    for network, shrinkage in (correction or {}).items():
        start = "regression" if network == "guided" else "interpolation"
        fraction = f"{shrinkage['share']:.0%}" if shrinkage["share"] else "none"
        tests = _describe_tests(shrinkage["wald_pairs"])
        sentences.append(
            f"{fraction} of the network's correction to `{start}` is applied" + (f" ({tests})" if tests else "")
        )
    return sentences


def describe_fine_stage(refinement: Mapping[str, Any] | None, fine: str) -> list[str]:
    """Return a sentence on what fraction of a fine stage is applied, and why; none for a stage without a fraction.

    Parameters
    ----------
    refinement : mapping or None
        ``refinement`` of a run's result.
    fine : str
        ``fine`` of the same.
    """
    if refinement is None:
        return []
    tests = _describe_tests(refinement["wald_pairs"]) or "it cannot be tested on this scene"
    return [f"{refinement['share']:.0%} of the correction by --fine {fine} is applied ({tests})"]


def _describe_tests(wald_pairs: list[Mapping[str, Any]]) -> str:
    """Return what fraction of a correction restores the degraded scene best; empty without a test."""
    pairs = "; ".join(_describe_pair(pair) for pair in wald_pairs)
    return pairs and f"best fraction when the degraded scene is restored: {pairs}"


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
    origin = f" ({guide:.0%} from the guide, {neither:.0%} from neither image)" if "contradicted" in mean else ""
    shares = f"{mean['improvement']:.0%} improved, {mean['omission']:.0%} omitted, {guide + neither:.0%} hallucinated"
    return [f"{shares}{origin}, when the scene degraded {detail['wald_ratio']}x is restored"]


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
    angle = "" if consistency["sam_deg"] is None else f", {consistency['sam_deg']:.2g} degrees (mean spectral angle)"
    return [
        f"degraded to the scene's pixels, the product differs from the scene by {consistency['rmse']:.3g} (RMSE){angle}"
    ]


def describe_cost(result: Mapping[str, Any]) -> str:
    """Return time and memory of a run."""
    return f"{result['seconds']:.1f} s, {result['peak_memory_bytes'] / 2**20:.0f} MiB of memory at most"
