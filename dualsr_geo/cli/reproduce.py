"""`dualsr-geo reproduce`."""

from __future__ import annotations

import json
from typing import Any

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.command import Command
from dualsr_geo.cli.progress import displayed
from dualsr_geo.cli.surface import print_result
from dualsr_geo.report.summary import counted


@click.command("reproduce", cls=Command, short_help="Make a product again and compare.")
@click.argument("product", type=click.Path())
@click.option("--output", "-o", type=click.Path(), help="Keep the new product here.  [default: it is deleted]")
@options.as_json
@click.pass_context
def reproduce(context: click.Context, *, product: str, output: str | None, as_json: bool) -> None:
    """Make PRODUCT again from the record that it carries, and compare all stored values.

    Scene, guide and weights must be where they were. The exit status is 1 if any value differs.
    """
    with displayed("Making the product again", hidden=as_json):
        from dualsr_geo.evaluation import reproduction  # noqa: PLC0415  # loads torch

        result = reproduction.reproduce(product, output)
    print_result(json.dumps(result) if as_json else _text(result))
    if not result["identical"]:
        context.exit(1)


def _text(result: dict[str, Any]) -> str:
    lines = [f"made by:    {result['made_by']}; made again by {result['now']}"]
    lines += [f"changed:    {change}" for change in result["changed"]]
    if result["output"]:
        lines.append(f"new:        {result['output']}")
    if result["identical"]:
        lines.append(f"identical:  all {counted(result['values'], 'stored value')} are equal")
    else:
        lines.append(
            f"different:  {result['different']} of {counted(result['values'], 'stored value')}, by {result['largest_difference']:g} at most"
        )
    return "\n".join(lines)
