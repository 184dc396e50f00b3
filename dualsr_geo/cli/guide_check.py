"""`dualsr-geo guide-check`."""

from __future__ import annotations

import json
from typing import Any

import click

from dualsr_geo.cli import options
from dualsr_geo.cli.command import Command
from dualsr_geo.cli.progress import displayed
from dualsr_geo.cli.surface import print_result
from dualsr_geo.report.summary import counted, share


@click.command("guide-check", cls=Command, short_help="Check how well a guide fits a scene.")
@click.argument("scene", type=click.Path())
@click.option(
    "--rgb",
    "--pan",
    "--guide",
    "rgb",
    type=click.Path(),
    multiple=True,
    help="The guide: a sharper image of the same area. Repeatable.",
)
@options.bidx
@options.gsd
@options.sensor
@options.wavelengths
@options.trust_references
@click.option("--scale", type=int, help="Ratio of pixel sizes.  [default: the largest that the guide allows]")
@click.option(
    "--plot", type=click.Path(), metavar="FILE.png", help="Also draw the displacement and the areas that differ."
)
@options.as_json
def guide_check(*, scene: str, rgb: tuple[str, ...], plot: str | None, as_json: bool, **chosen: Any) -> None:
    """Print how well a guide fits SCENE, as `upscale` estimates it, and advice; writes no product.

    Prints the overlap, the ratio of pixel sizes, the shift with its standard error, the local
    displacement, the blur, the share of each band's variance that the guide explains, and the share of
    the scene from which the guide differs.
    """
    with displayed("Measuring blur, shift and noise", hidden=as_json):
        from dualsr_geo.evaluation.guide_check import check_guide  # noqa: PLC0415  # loads torch

        check = check_guide(scene, rgb=rgb, plot=plot, **chosen)
    print_result(json.dumps(check) if as_json else _text(check))


def _text(check: dict[str, Any]) -> str:
    lines = [
        f"guide:     {g['name']}, {counted(g['bands'], 'band')} of {g['gsd']:.4g} {g['unit']}, {g['gsd_ratio']:.4g} times finer"
        for g in check["guides"]
    ]
    lines.append(f"scale:     {check['scale']}; px are pixels of the product")
    changed = "" if check["changed"] is None else f", and differs from it in {check['changed']:.1%}"
    lines.append(f"covers:    {share(check['coverage'])} of the scene{changed}")
    lines.append(f"shift:     {check['shift']}")
    field = check["field"]
    local = field and f"up to {field['largest_px']:.2f} px, root mean square {field['rms_px']:.2f} px"
    lines.append(f"local:     {local or 'no local distortion detected'}")
    lines.append(f"blur:      {_pair(check['sigma_px'], check['sigma_error_px'], '.3f')} px (sigma, y and x)")
    if relevance := check["relevance"]:
        mean, least = sum(relevance) / len(relevance), min(relevance)
        lines.append(f"explains:  {mean:.0%} of the variance of the bands, {least:.0%} of that of the least explained")
    lines.extend(f"note:      {note}" for note in check["notes"])
    lines.extend(f"advice:    {advice}" for advice in check["advice"])
    return "\n".join(lines)


def _pair(values: list[float], errors: list[float] | None, spec: str) -> str:
    if errors is None:
        return " and ".join(f"{v:{spec}}" for v in values)
    return " and ".join(f"{v:{spec}} (+- {e:.2g})" for v, e in zip(values, errors, strict=True))
