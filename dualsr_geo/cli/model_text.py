"""A model in words: what it takes, what it was trained on, how good it is, how to cite it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dualsr_geo.models.cards.descriptions import CITATIONS, ROLES, UNKNOWN_SOURCE
from dualsr_geo.models.cards.training_record import TrainingRecord, training_record

# Published networks, of which the package has the code, and users bring the weights.
PUBLISHED = {
    "coarsr": "DualSR (Li et al., 2022), without a guide: bring weights, `dualsr-geo models import FILE.pth`.",
    "coarsenet": "SFPN (Li et al., 2022), with an RGB guide: bring weights, `dualsr-geo models import FILE.pth`.",
}


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
        lines += ["", _field("network", f"`{key}`, used {ROLES.get(key, 'on every scene')}"), *_training(card)]
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
    return "\n".join([*lines, _field("cite", CITATIONS.get(network, UNKNOWN_SOURCE))])


def _field(name: str, text: object) -> str:
    return f"{name + ':':12} {text}"


def _training(card: Mapping[str, Any]) -> list[str]:
    """Return what a card states of training, test scenes and scores."""
    record = training_record(card["note"])
    lines = [_field("from", card["source"] or "unknown")]
    for scenes, name in ((record.scenes, "trained on"), (record.validation, "tested on")):
        if scenes:
            lines.append(_field(name, f"{len(scenes)} scenes: {', '.join(scenes)}"))
    lines += _scores(record)
    if record.limits:
        lines.append(_field("no help for", record.limits))
    if card["note"] and not record.has_any:
        lines.append(_field("note", card["note"]))
    return [*lines, _field("sha256", card["sha256"])]


def _scores(record: TrainingRecord) -> list[str]:
    """Return the mean gain over the start, of the test scenes whose scores a card has."""
    if record.mean_psnr is None:
        return []
    before, after = record.mean_psnr
    tests = len(record.scores)
    return [
        _field(
            "how good",
            f"PSNR {after:.1f} dB, {after - before:+.1f} dB over the start without it (mean of {tests} tests)",
        )
    ]
