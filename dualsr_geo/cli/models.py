"""`dualsr-geo models`."""

from __future__ import annotations

import dataclasses
import json

import click

from dualsr_geo.cli import options


@click.group(short_help="List models, show one.")
def models() -> None:
    """List what can sharpen a scene, or show one."""


@models.command("list")
@options.as_json
def list_(*, as_json: bool) -> None:
    """List the models, a line each."""
    from dualsr_geo.model import MODELS  # noqa: PLC0415

    if as_json:
        click.echo(json.dumps([dataclasses.asdict(m) for m in MODELS.values()]))
        return
    for model in MODELS.values():
        click.echo(f"{model.name:14} {model.summary}")


@models.command()
@click.argument("name")
def show(name: str) -> None:
    """Print all that a model promises, as JSON."""
    from dualsr_geo.model import load_model  # noqa: PLC0415

    click.echo(json.dumps(dataclasses.asdict(load_model(name)), indent=2))
