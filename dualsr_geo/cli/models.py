"""`dualsr-geo models`."""

from __future__ import annotations

import dataclasses
import json
import os

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.surface import print_result


@click.group(short_help="List the models, show or import one.")
def models() -> None:
    """List the models that sharpen a scene, show one, or import the weights of a network."""


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


@models.command()
@click.argument("name")
def show(name: str) -> None:
    """Print the properties of a model as JSON. NAME is a model of `models list`, or a weights file."""
    from dualsr_geo.models.registry import load_model, model_names  # noqa: PLC0415  # loads torch

    if name in model_names() or not os.path.exists(name):  # noqa: PTH110  # a name may be too long for Path
        print_result(json.dumps(load_model(name).record, indent=2))
        return
    from dualsr_geo.models.weights import read_card, sha256  # noqa: PLC0415  # loads torch

    card = dataclasses.asdict(read_card(name))
    print_result(json.dumps({**card, "sha256": sha256(name)}, indent=2))


@models.command("import")
@click.argument("checkpoint", type=click.Path())
@options.output
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

    path = require_place(output or require_checkpoint(checkpoint).with_suffix(".safetensors"), "--output")
    require_weights_file(path, [checkpoint])
    tensors, card = convert(checkpoint, scale)
    save(path, tensors, card, overwrite=overwrite)
    print_result(f"{path}: {card.network}, {card.ratio}x, {card.width} channels")
