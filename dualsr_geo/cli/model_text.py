"""A model in words: what it takes, what it was trained on, how good it is, how to cite it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# What a user of a model or a network cites; docs/citing.md has the entries.
OURS = "dualsr-geo; Wang et al. (2015), area-to-point regression kriging; Aiazzi et al. (2006), MTF-matched injection"
CITATIONS = {
    **dict.fromkeys(("auto", "learned", "regression", "interpolation", "guided", "alone"), OURS),
    "gsa": "Aiazzi et al. (2007), multivariate regression of MS and pan data",
    "mtf-glp-hpm": "Aiazzi et al. (2006), MTF-tailored multiscale fusion",
    "coarsr": "Li et al. (2022), Dual-Stage Approach Toward Hyperspectral Image Super-Resolution (DualSR)",
    "coarsenet": "Li et al. (2022), Symmetrical Feature Propagation Network (SFPN)",
}
# Published networks, of which the package has the code, and users bring the weights.
PUBLISHED = {
    "coarsr": "DualSR (Li et al., 2022), without a guide: bring weights, `dualsr-geo models import FILE.pth`.",
    "coarsenet": "SFPN (Li et al., 2022), with an RGB guide: bring weights, `dualsr-geo models import FILE.pth`.",
}
NETWORKS = {"guided": "with a guide", "alone": "where there is no guide"}


def describe_model(record: Mapping[str, Any], cards: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a model in words.

    Parameters
    ----------
    record : mapping
        `Model.record`.
    cards : mapping
        The cards of its networks by their key, as mappings.
    """
    name, (low, high) = record["name"], record["ratios"]
    guide = "needed" if record["needs_guide"] else "used if there is one" if record["guided"] else "not used"
    guided_s, unguided_s = record["seconds_per_million"]
    times = [f"{guided_s:g} s with a guide"] * record["guided"] + [f"{unguided_s:g} s without"] * (
        not record["needs_guide"]
    )
    lines = [
        f"{name}: {record['summary']}",
        _field("guide", guide),
        _field("ratios", f"{low} to {high}" if low != high else f"{low}"),
        _field("fine stage", record["fine"]),
        _field("licence", record["licence"]),
        _field("time", f"about {', '.join(times)} per million values of the product, on one core"),
    ]
    for key, card in cards.items():
        lines += ["", _field("network", f"`{key}`, used {NETWORKS.get(key, 'on every scene')}"), *_training(card)]
    return "\n".join([*lines, "", _field("cite", CITATIONS.get(name, "dualsr-geo"))])


def describe_card(card: Mapping[str, Any]) -> str:
    """Return a weights file in words.

    Parameters
    ----------
    card : mapping
        The fields of its `Card`, with ``sha256``.
    """
    network, ratio = card["network"], card["ratio"]
    lines = [
        f"Weights of `{network}`",
        _field("ratios", f"{ratio}" if ratio else "several"),
        _field("bands", f"{card['bands']}" if card["bands"] else "any number"),
        _field("guide", f"{card['guide_bands']} bands" if card["guide_bands"] else "any, or none"),
        _field("size", f"{card['width']} features, halo of {card['halo']} pixels of the scene"),
        _field("licence", card["licence"]),
        *_training(card),
    ]
    return "\n".join([*lines, _field("cite", CITATIONS.get(network, "the source of the weights"))])


def _field(name: str, text: object) -> str:
    return f"{name + ':':12} {text}"


def _training(card: Mapping[str, Any]) -> list[str]:
    """Return what a card states of training, test scenes and scores."""
    note = _note(card["note"])
    lines = [_field("from", card["source"] or "unknown")]
    for key, name in (("scenes", "trained on"), ("validation", "tested on")):
        scenes = note.get(key)
        if isinstance(scenes, list):
            lines.append(_field(name, f"{len(scenes)} scenes: {', '.join(map(str, scenes))}"))
    lines += _scores(note.get("scores"))
    if isinstance(note.get("does_not_help"), str):
        lines.append(_field("no help for", note["does_not_help"]))
    if card["note"] and not note:
        lines.append(_field("note", card["note"]))
    return [*lines, _field("sha256", card["sha256"])]


def _note(text: str) -> dict[str, Any]:
    try:
        note = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def _scores(scores: object) -> list[str]:
    """Return the mean gain over the start, of the test scenes whose scores a card has."""
    rows = list(scores.values()) if isinstance(scores, dict) else []
    pairs = [(r["start_psnr"], r["psnr"]) for r in rows if isinstance(r, dict) and {"start_psnr", "psnr"} <= set(r)]
    if not pairs or not all(isinstance(v, int | float) for pair in pairs for v in pair):
        return []
    before, after = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
    return [
        _field(
            "how good",
            f"PSNR {after:.1f} dB, {after - before:+.1f} dB over the start without it (mean of {len(pairs)} tests)",
        )
    ]
