"""Sentences about a run for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# A correction so many times stronger or weaker than on the scene itself is worth a word.
NOTICED = 1.5


def describe_fine_stage(found: Mapping[str, Any] | None, fine: str) -> list[str]:
    """Return a sentence on how much of a fine stage is used, and why so much; none where it has no share.

    Parameters
    ----------
    found : mapping or None
        ``refinement`` of a report.
    fine : str
        ``fine`` of the same.
    """
    if found is None:
        return []
    pairs = ", ".join(_say_pair(pair) for pair in found["wald_pairs"])
    rests = f"best on the scene degraded {pairs}" if pairs else "the scene cannot say whether it helps"
    return [f"{found['share']:.0%} of --fine {fine}; {rests}"]


def describe_correction(found: Mapping[str, Any] | None) -> list[str]:
    """Return a sentence for each network of ours: by how much it corrected the start, and why so much.

    Parameters
    ----------
    found : mapping or None
        ``correction`` of a report.
    """
    said = []
    for name, one in (found or {}).items():
        start = "regression" if name == "guided" else "interpolation"
        share = f"{one['share']:.0%} of the network's correction to `{start}`" if one["share"] else f"`{start}` alone"
        pairs = ", ".join(_say_pair(pair) for pair in one["wald_pairs"])
        said.append(share + (f"; best on the scene degraded {pairs}" if pairs else ""))
    return said


def _say_pair(pair: Mapping[str, Any]) -> str:
    error = "" if pair["error"] is None else f" +- {pair['error']:.0%}"
    times = pair["excess"]
    other = f", where it is {max(times, 1 / times):.2g} times {'weaker' if times > 1 else 'stronger'}"
    return f"{pair['ratio']}x: {pair['best']:.0%}{error}{other if max(times, 1 / times) > NOTICED else ''}"


def describe_detail(found: Mapping[str, Any] | None) -> list[str]:
    """Return a sentence on what the product's detail is worth; none where nobody knows.

    Parameters
    ----------
    found : mapping or None
        ``detail`` of a report.
    """
    if found is None:
        return []
    mean = found["mean"]
    guide, neither = mean["hallucination_guide"], mean["hallucination_neither"]
    origin = f" ({guide:.0%} from the guide, {neither:.0%} from neither)" if "contradicted" in mean else ""
    shares = f"{mean['improvement']:.0%} improved, {mean['omission']:.0%} omitted, {guide + neither:.0%} hallucinated"
    return [f"detail, on the scene degraded {found['wald_ratio']}x: {shares}{origin}"]
