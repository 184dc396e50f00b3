"""`dualsr-geo sample`."""

from __future__ import annotations

import click

from dualsr_geo.cli.surface import print_result


@click.command(short_help="Write a synthetic scene and its guide.")
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("--guide", type=click.Choice(["pan", "rgb"]), default="pan", show_default=True, help="Kind of the guide.")
@click.option("--bands", type=click.IntRange(1, 512), default=31, show_default=True, help="Bands of the scene.")
@click.option(
    "--size",
    nargs=2,
    type=click.IntRange(8, 20000),
    default=(120, 160),
    show_default=True,
    help="Rows and columns of the scene.",
)
@click.option("--scale", type=click.IntRange(2, 16), default=4, show_default=True, help="Ratio of pixel sizes.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random numbers.")
def sample(folder: str, guide: str, bands: int, size: tuple[int, int], scale: int, seed: int) -> None:
    """Write a synthetic, realistic, georeferenced scene and its guide into FOLDER, to try the program."""
    from dualsr_geo.synthetic import write  # noqa: PLC0415  # loads scipy

    scene, sharp = write(folder, shape=size, ratio=scale, bands=bands, guide=guide, seed=seed)
    print_result(f"{scene}\n{sharp}")
