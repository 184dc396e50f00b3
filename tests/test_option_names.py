"""Messages in the words of their reader: flags on the command line, keywords in Python."""

import click
import pytest

from dualsr_geo import cli, option_names
from dualsr_geo.errors import DualSRWarning, OptionError
from dualsr_geo.option_names import RENAMED, SWITCHES, VALUED, with_keywords

# Flags that only a command line has.
OWN = {"verbose", "json", "quiet", "debug", "log-json", "dry-run", "status", "gpus", "plot", "size", "version", "help"}
COMMANDS = ("upscale", "degrade", "evaluate", "guide-check", "batch", "train")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Give --scale, e.g. --scale 4.", "Give `scale`, e.g. scale=4."),
        ("--scale 0 does not sharpen.", "scale=0 does not sharpen."),
        (
            "Give --nodata 0 or --nodata auto if they are missing.",
            "Give nodata=0 or nodata='auto' if they are missing.",
        ),
        ("--psf is no PSF", "`psf` is no PSF"),
        ("--tile -1 is below 8 lr pixels.", "tile=-1 is below 8 lr pixels."),
        (
            "Give --overwrite to replace it, or another --output.",
            "Give overwrite=True to replace it, or another `output`.",
        ),
        ("(--changes auto).", "(changes='auto')."),
        ("Leave --model out.", "Leave `model` out."),
        ("--bidx 1 selects no band", "bidx='1' selects no band"),
        ("Give --max-memory 4GB, or --mtf-gain 0.3.", "Give max_memory='4GB', or mtf_gain=0.3."),
        ("or --fine backprojection of --model auto", "or fine='backprojection' of model='auto'"),
        ("Give --rgb pan.tif.", "Give rgb='pan.tif'."),
        ("such as --rgb '{stem}_pan.tif'.", "such as rgb='{stem}_pan.tif'."),
        ("or use --alone", "or use allow_unguided=True"),
        ("Set it (rio edit-info --nodata), or give --nodata 0", "Set it (rio edit-info --nodata), or give nodata=0"),
        ("Set the CRS (rio edit-info --crs).", "Set the CRS (.rio.write_crs)."),
        ("Check it with dualsr-geo guide-check.", "Check it with `.dualsr.guide_check`."),
        ("run `pip install --upgrade x`", "run `pip install --upgrade x`"),
        ("a file --x.tif, and - 3 -- 4", "a file --x.tif, and - 3 -- 4"),
        ("the file a--scale.tif", "the file a--scale.tif"),
    ],
)
def test_flags_become_keywords(text, wanted):
    assert with_keywords(text) == wanted


def test_errors_and_warnings_have_keywords_in_python_and_flags_on_the_command_line(monkeypatch):
    monkeypatch.delenv(option_names.STYLE)
    error, warning = OptionError("Give --scale 4."), DualSRWarning("Give --nodata 0.")
    assert (str(error), str(warning)) == ("Give scale=4.", "Give nodata=0.")
    with option_names.flags():
        assert (str(error), str(warning)) == ("Give --scale 4.", "Give --nodata 0.")
    assert str(error) == "Give scale=4."


def test_every_flag_of_the_commands_has_a_keyword():
    for name in COMMANDS:
        for param in cli.main.commands[name].params:
            flags = [flag.removeprefix("--") for flag in (*param.opts, *param.secondary_opts) if flag.startswith("--")]
            if not isinstance(param, click.Option) or OWN & set(flags):
                continue
            for flag in flags:
                assert flag in SWITCHES | VALUED or flag in ("bf16", "float32"), (name, flag)
            keywords = {RENAMED.get(flag, flag.replace("-", "_")) for flag in flags}
            assert param.name in keywords or param.name in ("alone", "rgb", "bf16", "scheduler"), (
                name,
                flags,
                param.name,
            )
