"""`dualsr-geo models`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from dualsr_geo.cli import options


@click.group(short_help="List models, show one.")
def models() -> None:
    """List what can sharpen a scene, or show one."""


@models.command("list")
@options.as_json
def list_(*, as_json: bool) -> None:
    """List the models, a line each."""
    from dualsr_geo.models.registry import models as registered  # noqa: PLC0415  # loads torch

    if as_json:
        click.echo(json.dumps([m.record for m in registered().values()]))
        return
    for model in registered().values():
        click.echo(f"{model.name:14} {model.summary}")


@models.command()
@click.argument("name")
def show(name: str) -> None:
    """Print all that a model promises, as JSON: one of `models list`, or a weights FILE."""
    from dualsr_geo.models.registry import load_model, model_names  # noqa: PLC0415  # loads torch

    if name in model_names() or not Path(name).exists():
        click.echo(json.dumps(load_model(name).record, indent=2))
        return
    from dualsr_geo.models.weights import read_card, sha256  # noqa: PLC0415  # loads torch

    card = dataclasses.asdict(read_card(name))
    click.echo(json.dumps({**card, "sha256": sha256(name)}, indent=2))


@models.command("import")
@click.argument("checkpoint", type=click.Path())
@options.output
@click.option("--scale", type=int, help="Ratio of the weights; SFPN's do not tell it.")
@options.overwrite
def import_(checkpoint: str, output: str | None, scale: int | None, *, overwrite: bool) -> None:
    """Turn a CHECKPOINT of DualSR's or SFPN's authors into safetensors with a model card.

    Nothing in the file is run. The weights serve `dualsr-geo upscale --model FILE`, and
    dualsr_geo.load_model in Python.
    """
    from dualsr_geo.models.checkpoint_import import convert  # noqa: PLC0415  # loads torch
    from dualsr_geo.models.weights import save  # noqa: PLC0415

    place = Path(output) if output is not None else Path(checkpoint).with_suffix(".safetensors")
    tensors, card = convert(checkpoint, scale)
    save(place, tensors, card, overwrite=overwrite)
    click.echo(f"{place}: {card.network}, {card.ratio}x, {card.width} channels")
