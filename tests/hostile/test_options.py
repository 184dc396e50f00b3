"""Bad values of every option of every command: what click declares decides the values, so new options are covered."""

from pathlib import Path

import click
import numpy as np
import pytest
from delivered import raster
from hostile_case import Case, check

from dualsr_geo.cli import main

# A command line of each command that succeeds, or fails early for another reason.
BASE = {
    "upscale": ["scene.tif", "--scale", "2", "-o", "out/o.tif"],
    "batch": ["scene.tif", "-o", "out/b", "--scale", "2"],
    "evaluate": ["scene.tif", "--scale", "2", "--models", "bicubic"],
    "degrade": ["scene.tif", "--scale", "2", "-o", "out/d.tif"],
    "info": ["scene.tif"],
    "guide-check": ["scene.tif", "--rgb", "pan.tif"],
    "reproduce": ["scene.tif"],
    "models list": [],
    "models show": ["auto"],
    "models import": ["text.txt"],
    "models export": ["out/m"],
    "sensors list": [],
    "sensors show": ["pan"],
    "sample": ["out/s", "--size", "8", "8"],
    "train": ["scene.tif", "-o", "out/w.safetensors", "--network", "coarsenet", "--steps", "1", "--patch", "8",
              "--batch", "1", "--width", "4", "--scale", "2"],
}  # fmt: skip

LONG_NAME, NOT_UTF8 = "a" * 300 + ".tif", "b\udce9.tif"
# Values of each kind of option: those of the quick table, and those of the long one.
VALUES = {
    "integer": (["0", "-1", "9" * 20], ["-999999999", "4\u0664", "1e3", "", "nan", "\uff14", "9" * 5000]),
    "number": (["nan", "-1", "1e400"], ["inf", "-inf", "0", "1e-320", "", "0x10", "1e30"]),
    "path": (
        ["", LONG_NAME, NOT_UTF8],
        ["nothere.tif", ".", "..", "/dev/null", "~nosuchuser/x.tif", "scene.tif/x", "new\nline.tif", "dir", "no/x.png", "text.txt"],
    ),
    "choice": (["x"], ["", "COG,GTiff"]),
    "text": (["", "\udce9"], ["a\nb", "x" * 5000, "*", ",", "-1", "9" * 20, "{", "[a"]),
}  # fmt: skip
# What takes long, or is no mistake: training for a billion steps; a search of the whole disk.
LEFT_OUT = {("train", "--steps", "-1")}


def commands(command, words=()):
    """Yield every command that is no group, with its words."""
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from commands(below, (*words, name))
    else:
        yield " ".join(words), command


def kind_of(param):
    """Return which values of `VALUES` an option takes; None for a flag."""
    kind = param.type.types[0] if isinstance(param.type, click.Tuple) else param.type
    classes = {
        "integer": (click.types.IntParamType, click.IntRange),
        "number": (click.types.FloatParamType, click.FloatRange),
        "choice": click.Choice,
        "path": click.Path,
        "text": click.types.StringParamType,
    }
    return next((name for name, types in classes.items() if isinstance(kind, types)), None)


def command_line(words, param, value):
    """Return the arguments with a value of one option, instead of the one that the base has."""
    base = list(BASE[words])
    if isinstance(param, click.Argument):
        return [*words.split(), value, *base[1:]]
    for option in set(param.opts) & set(base):
        at = base.index(option)
        del base[at : at + 1 + param.nargs]
    return [*words.split(), *base, max(param.opts, key=len), *[value] * param.nargs]


def made(arguments):
    """Return a function that writes the inputs and returns the arguments."""

    def make(folder: Path):
        rng = np.random.default_rng(1)
        raster(folder / "scene.tif", rng.integers(500, 5000, (3, 16, 16)).astype("uint16"), 8.0)
        raster(folder / "pan.tif", rng.integers(500, 5000, (1, 32, 32)).astype("uint16"), 4.0)
        (folder / "text.txt").write_text("hello")
        (folder / "dir").mkdir()
        (folder / "out").mkdir()
        return arguments

    return make


def cases(*, long):
    """Return a case for every option and bad value."""
    found = []
    for words, command in commands(main):
        for param in command.params:
            kind = kind_of(param)
            for value in VALUES[kind][long] if kind is not None else ():
                name = param.name if isinstance(param, click.Argument) else max(param.opts, key=len)
                if (words, name, value) not in LEFT_OUT:
                    shown = ascii(value if len(value) < 30 else value[:27] + "...")
                    found.append(Case(f"{words} {name} {shown}", made(command_line(words, param, value)), either=True))
    return tuple(found)


def command(*arguments):
    return made(list(arguments))


NAMED_CASES = (
    Case("a size with two points", command("upscale", "scene.tif", "--scale", "2", "--max-memory", "1.2.3GB"), "1.2.3GB` is no size", code=2),
    Case("degrade to ratio 0", command("degrade", "scene.tif", "--scale", "0"), r"--scale 0 cannot degrade.*Give 2\.\."),
    Case("degrade to ratio -1", command("degrade", "scene.tif", "--scale", "-1"), r"--scale -1 cannot degrade"),
    Case("an empty scene", command("upscale", "", "--scale", "2"), "^Error: The name of the scene .*is empty"),
    Case("a scene with a long name", command("upscale", LONG_NAME, "--scale", "2"), "is too long: it has 304 bytes"),
    Case("a guide with a long name", command("upscale", "scene.tif", "--rgb", LONG_NAME), "is too long"),
    Case("a model with a long name", command("upscale", "scene.tif", "--scale", "2", "--model", LONG_NAME), "is too long"),
    Case("a scene that is not UTF-8", command("upscale", NOT_UTF8, "--scale", "2"), "is not UTF-8"),
    Case("the home of nobody", command("info", "~nosuchuser/x.tif"), "~nosuchuser/x.tif does not exist"),
    Case("models of commas", command("evaluate", "scene.tif", "--scale", "2", "--models", ","), "--models names no model"),
    Case("a plot in no folder", command("guide-check", "scene.tif", "--rgb", "pan.tif", "--plot", "no/x.png"), "no of no/x.png does not exist.*--plot"),
    Case("a folder as a checkpoint", command("models", "import", "."), "^Error: . is no regular file"),
    Case("a sample into a file", command("sample", "text.txt"), "text.txt' is a file", code=2),
    Case("a sample below a file", command("sample", "text.txt/x"), "cannot be written to text.txt/x.*Not a directory"),
    Case("a sample over a scene", command("sample", "."), "scene.tif exists and is no sample"),
    Case("a sample of terabytes", command("sample", "out/s", "--size", "20000", "20000", "--bands", "512", "--scale", "16"), "takes about [0-9]+ GiB of memory"),
    Case("no jobs", command("upscale", "scene.tif", "--scale", "2", "--jobs", "0"), "--jobs 0 runs nothing"),
    Case("a batch without jobs", command("batch", "scene.tif", "--scale", "2", "-o", "out/b", "--jobs", "0"), "--jobs 0 runs nothing"),
    Case("a batch of no model", command("batch", "scene.tif", "--scale", "2", "-o", "out/b", "--model", "x"), "no model `x`"),
    Case("training on no threads", command("train", "scene.tif", "-o", "out/w.safetensors", "--network", "coarsenet", "--jobs", "0"), "--jobs 0", code=2),
    Case("training to ratio 0", command("train", "scene.tif", "-o", "out/w.safetensors", "--network", "coarsenet", "--scale", "0"), "--scale 0 is not a ratio"),
    Case("training for no end", command("train", "scene.tif", "-o", "out/w.safetensors", "--network", "guided", "--minutes", "inf"), "--minutes inf|patch"),
    Case("an integer of 67 bits", command("degrade", "scene.tif", "--scale", "9" * 20), "does not fit into 64 bits", code=2),
    Case("a scheduler that is none", command("upscale", "scene.tif", "--scale", "2", "--scheduler", "x" * 400), "--scheduler .* does not answer"),
)  # fmt: skip
CASES = (*NAMED_CASES, *cases(long=False))
LONG_CASES = cases(long=True)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("case", LONG_CASES, ids=str)
def test_answer_of_the_long_table(case, tmp_path):
    check(case, tmp_path)
