"""`dualsr-geo guide-check`."""

from __future__ import annotations

import json
from typing import Any

import click

from dualsr_geo.cli import options


@click.command("guide-check", short_help="Say how a guide lies on a scene, and what it is worth.")
@click.argument("scene", type=click.Path())
@click.option(
    "--rgb", "--pan", "--guide", "rgb", type=click.Path(), multiple=True, help="The sharper image; repeatable."
)
@options.bidx
@options.gsd
@options.sensor
@click.option("--scale", type=int, help="Ratio of pixel sizes. By default the largest that the guide allows.")
@click.option("--plot", type=click.Path(), metavar="FILE.png", help="Also draw it: displacement and changed places.")
@options.as_json
def guide_check(*, scene: str, rgb: tuple[str, ...], plot: str | None, as_json: bool, **chosen: Any) -> None:
    """Print what `upscale` would find out about a guide of SCENE, and what to do about it; makes no product.

    Overlap, ratio of pixel sizes, shift with its standard error, local displacement, blur, how much of
    each band the guide explains, and how much of it shows something else.
    """
    from dualsr_geo.evaluation.guide_check import check_guide  # noqa: PLC0415  # loads torch

    found = check_guide(scene, rgb=rgb, plot=plot, **chosen)
    click.echo(json.dumps(found) if as_json else _text(found))


def _text(found: dict[str, Any]) -> str:
    lines = [
        f"guide:     {g['name']}, {g['bands']} bands of {g['gsd']:g} {g['unit']}, {g['gsd_ratio']:g} times finer"
        for g in found["guides"]
    ]
    lines.append(f"scale:     {found['scale']}, pixels (px) are those of the product")
    changed = "not known" if found["changed"] is None else f"{found['changed']:.1%} shows something else"
    lines.append(f"covers:    {found['coverage']:.1%} of the scene; {changed}")
    lines.append(f"shift:     {_pair(found['shift_px'], found['shift_error_px'], '+.2f')} px down and right")
    field = found["field"]
    even = "even, as far as can be told"
    local = field and f"up to {field['largest_px']:.2f} px, root mean square {field['rms_px']:.2f} px"
    lines.append(f"local:     {local or even}")
    lines.append(f"blur:      {_pair(found['sigma_px'], found['sigma_error_px'], '.3f')} px (sigma, y and x)")
    if found["relevance"]:
        mean, least = sum(found["relevance"]) / len(found["relevance"]), min(found["relevance"])
        lines.append(f"explains:  {mean:.0%} of the bands' variance, {least:.0%} of the least explained band's")
    lines.extend(f"note:      {note}" for note in found["notes"])
    lines.extend(f"do:        {advice}" for advice in found["advice"])
    return "\n".join(lines)


def _pair(values: list[float], errors: list[float] | None, how: str) -> str:
    if errors is None:
        return " and ".join(f"{v:{how}}" for v in values)
    return " and ".join(f"{v:{how}} (+- {e:.2g})" for v, e in zip(values, errors, strict=True))
