"""Options that several commands share."""

import click
import pytest
from click.testing import CliRunner

from dualsr_geo.cli import options


@pytest.mark.parametrize(
    ("args", "bidx"),
    [
        ([], None),
        (["-b", "1", "-b", "2"], "1,2"),
        (["-b", "3,1", "--bidx", "5..6"], "3,1,5..6"),
        (["-b", "2..4"], "2..4"),
    ],
)
def test_bands_of_a_repeated_option_add_up(args, bidx):
    @click.command()
    @options.bidx
    def command(bidx):
        click.echo(repr(bidx))

    assert CliRunner().invoke(command, args).output.strip() == repr(bidx)
