"""The model card of a weights file as a page in Markdown, with the fields of model hubs in front."""

from __future__ import annotations

from collections.abc import Iterable

from dualsr_geo.models.cards.weights_file import WeightsFile
from dualsr_geo.version import __version__

TAGS = ("super-resolution", "pansharpening", "hyperspectral", "multispectral", "remote-sensing", "safetensors")


def page_of(file: WeightsFile) -> str:
    """Return the page of a weights file.

    Parameters
    ----------
    file : WeightsFile

    Returns
    -------
    str
        Markdown; the first lines are YAML between ``---``.
    """
    sections = [_front_matter(file), f"# dualsr-geo {file.name}", file.summary, _use(file), _inputs(file)]
    sections += [_training(file), _scores(file), _limits(file), _origin(file)]
    return "\n\n".join(section for section in sections if section) + "\n"


def _front_matter(file: WeightsFile) -> str:
    licence = file.card.licence.lower() if file.card.licence != "unknown" else "unknown"
    lines = [f"license: {_quoted(licence)}", "library_name: dualsr-geo", "pipeline_tag: image-to-image", "tags:"]
    return "\n".join(["---", *lines, *(f"- {tag}" for tag in TAGS), "---"])


def _quoted(text: str) -> str:
    """Return a text as a YAML value in single quotes."""
    return "'" + " ".join(text.split()).replace("'", "''") + "'"


def _use(file: WeightsFile) -> str:
    guide = " --rgb guide.tif" if file.takes_guide else f" --scale {file.card.ratio or 4}"
    return f"## Use\n\n    pip install dualsr-geo\n    dualsr-geo upscale scene.tif{guide} --model {file.path.name}"


def _inputs(file: WeightsFile) -> str:
    card = file.card
    rows = [
        ("scene", f"{card.bands} bands" if card.bands else "any number of bands, in any unit"),
        ("guide", f"{card.guide_bands or 'any number of'} bands" if file.takes_guide else "none"),
        ("ratio", str(card.ratio) if card.ratio else "2 to 32"),
        ("network", f"`{card.network}`: {file.architecture}, {card.width} features, {file.parameters} weights"),
        ("context", f"{card.halo} pixels of the scene on each side of a tile"),
    ]
    return "## Inputs\n\n" + _table(("", ""), rows)


def _training(file: WeightsFile) -> str:
    training = file.training
    lines = [
        f"* Source: {file.card.source or 'unknown'}",
        *([f"* Trained on {len(training.scenes)} scenes: {', '.join(training.scenes)}"] if training.scenes else []),
        *([f"* Tested on: {', '.join(training.validation)}"] if training.validation else []),
        *([f"* Command: `{training.command}`"] if training.command else []),
        *([f"* Note: {file.card.note}"] if file.card.note and not training.has_any else []),
    ]
    return "## Training\n\n" + "\n".join(lines)


def _scores(file: WeightsFile) -> str:
    scores, mean = file.training.scores, file.training.mean_psnr
    if mean is None:
        return ""
    rows = [(name, f"{before:.2f}", f"{after:.2f}") for name, (before, after) in scores.items()]
    rows.append(("mean", f"{mean[0]:.2f}", f"{mean[1]:.2f}"))
    return "## Scores\n\nPSNR in dB, peak 1, without and with the network.\n\n" + _table(
        ("test", "without", "with"), rows
    )


def _limits(file: WeightsFile) -> str:
    return f"## Limits\n\n{file.training.limits}" if file.training.limits else ""


def _origin(file: WeightsFile) -> str:
    return "\n".join((
        "## Licence and citation",
        "",
        f"* Licence: {file.card.licence}",
        f"* Cite: {file.citation}",
        f"* SHA-256 of `{file.path.name}`: {file.sha256}",
        f"* Card written by dualsr-geo {__version__}",
    ))  # fmt: skip


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = [heading, ("---",) * len(heading), *rows]
    return "\n".join(
        "| " + " | ".join(" ".join(cell.split()).replace("|", r"\|") for cell in row) + " |" for row in cells
    )
