"""The command line: `dualsr-geo`, and the plugin `rio dualsr`.

A command declares its options, imports the library when it runs, and calls one function.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from typing import Any, TextIO

import click

from dualsr_geo.cli.batch import batch
from dualsr_geo.cli.degrade import degrade
from dualsr_geo.cli.evaluate import evaluate
from dualsr_geo.cli.guide_check import guide_check
from dualsr_geo.cli.info import info
from dualsr_geo.cli.models import models
from dualsr_geo.cli.reproduce import reproduce
from dualsr_geo.cli.sample import sample
from dualsr_geo.cli.sensors import sensors
from dualsr_geo.cli.surface import above_progress, finish, one_line_errors
from dualsr_geo.cli.train import train
from dualsr_geo.cli.upscale import upscale
from dualsr_geo.errors import DualSRWarning
from dualsr_geo.option_names import flags
from dualsr_geo.redaction import redact, remember
from dualsr_geo.version import __version__

__all__ = ["main"]


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a `DualSRWarning` as one line, and any other warning as Python does."""
    # A full disk behind standard error stops no run.
    with contextlib.suppress(OSError), above_progress():
        if issubclass(category, DualSRWarning):
            click.echo(f"Warning: {redact(str(message))}", err=True)
        else:
            text = warnings.formatwarning(message, category, filename, lineno, line)
            (file or sys.stderr).write(text)


class _Commands(click.Group):
    """Prints every error as one line, without the secrets of the arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the secrets of the arguments, so that no output shows them."""
        remember(*args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:  # click's own signature
        """Run a command."""
        # Without a handler Python prints the log of rasterio, which repeats the error message.
        logging.getLogger("rasterio").addHandler(logging.NullHandler())
        with flags(), one_line_errors(ctx), warnings.catch_warnings():
            warnings.simplefilter("always", DualSRWarning)
            warnings.showwarning = _print_warning
            return super().invoke(ctx)


@click.group("dualsr", cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dualsr-geo")
def main() -> None:
    """Sharpen hyperspectral and multispectral scenes on their map grid."""


for _command in (upscale, batch, evaluate, degrade, info, guide_check, reproduce, models, sensors, sample, train):
    main.add_command(_command)
finish(main)
