"""`dualsr-geo models`."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.model_text import PUBLISHED, describe_card, describe_model
from dualsr_geo.cli.surface import print_result
from dualsr_geo.models.cards.descriptions import CITATIONS


@click.group(short_help="List the models, show, import or export one.")
def models() -> None:
    """List the models that sharpen a scene, show one, import the weights of a network, or export them for catalogues."""


@models.command("list")
@options.as_json
def list_(*, as_json: bool) -> None:
    """List the models, one a line."""
    from dualsr_geo.models.registry import models  # noqa: PLC0415  # loads torch

    if as_json:
        print_result(json.dumps([m.record for m in models().values()]))
        return
    for model in models().values():
        print_result(f"{model.name:14} {model.summary}")
    for name, summary in PUBLISHED.items():
        print_result(f"{name:14} {summary}")


@models.command()
@click.argument("name")
@options.as_json
def show(name: str, *, as_json: bool) -> None:
    """Show what a model takes, what it was trained on, how good it is, its licence and how to cite it.

    NAME is a model of `models list`, or a weights file. --json prints the model card.
    """
    from dualsr_geo.models.registry import load_model, model_names  # noqa: PLC0415  # loads torch

    if name in PUBLISHED and not os.path.exists(name):  # noqa: PTH110  # a name may be too long for Path
        values = {"name": name, "summary": PUBLISHED[name], "cite": CITATIONS[name]}
        print_result(json.dumps(values) if as_json else f"{name}: {PUBLISHED[name]}\ncite: {CITATIONS[name]}")
        return
    if name in model_names() or not os.path.exists(name):  # noqa: PTH110
        record = load_model(name).record
        cards = {k: _card(v["path"]) for k, v in (record["ours"] or {}).items() if isinstance(v, dict)}
        print_result(json.dumps(record, indent=2) if as_json else describe_model(record, cards))
        return
    card = _card(name)
    print_result(json.dumps(card, indent=2) if as_json else describe_card(card))


def _card(path: str) -> dict[str, Any]:
    """Return the card of a weights file, with its hash."""
    from dualsr_geo.models.weights import read_card, sha256  # noqa: PLC0415  # loads torch

    return {**dataclasses.asdict(read_card(path)), "sha256": sha256(path)}


@models.command("import")
@click.argument("checkpoint", type=click.Path())
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="Weights file to write.  [default: in the current folder, named as CHECKPOINT]",
)
@click.option("--scale", type=int, help="Ratio of the weights; required for SFPN, whose checkpoints do not hold it.")
@options.overwrite
def import_(checkpoint: str, output: str | None, scale: int | None, *, overwrite: bool) -> None:
    """Convert a CHECKPOINT of the authors of DualSR or SFPN to safetensors with a model card.

    No code in the file is executed. The weights can be used by `dualsr-geo upscale --model FILE`, and
    by dualsr_geo.load_model in Python.
    """
    from dualsr_geo.io.storage.names import require_place  # noqa: PLC0415
    from dualsr_geo.models.checkpoint_import import convert, require_checkpoint  # noqa: PLC0415  # loads torch
    from dualsr_geo.models.weights import require_weights_file, save  # noqa: PLC0415

    # Not next to the checkpoint, whose folder may be one that others share.
    default = Path(require_checkpoint(checkpoint).with_suffix(".safetensors").name)
    path = require_place(output or default, "--output")
    require_weights_file(path, [checkpoint])
    tensors, card = convert(checkpoint, scale)
    save(path, tensors, card, overwrite=overwrite)
    print_result(f"{path}: {card.network}, {card.ratio}x, {card.width} channels")


@models.command()
@click.argument("folder", metavar="DIR", type=click.Path())
@click.option(
    "--model",
    "model",
    multiple=True,
    metavar="NAME|FILE",
    help="Model of `models list` that has networks, or weights file. Repeatable.  [default: auto]",
)
@options.overwrite
@options.as_json
def export(folder: str, model: tuple[str, ...], *, overwrite: bool, as_json: bool) -> None:
    """Write networks into DIR for STAC catalogues and model hubs.

    Each network is a folder with mlm.json (a STAC item with the extension Machine Learning Model), its weights as
    safetensors, and README.md (a model card). DIR/catalog.json links the items.
    """
    from dualsr_geo.models.cards.export import DEFAULT, export_models  # noqa: PLC0415  # loads torch

    items = export_models(folder, list(model) or DEFAULT, overwrite=overwrite)
    print_result(json.dumps([str(item) for item in items]) if as_json else "\n".join(map(str, items)))
