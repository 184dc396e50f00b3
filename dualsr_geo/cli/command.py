"""The class of the commands: it explains the flags of GDAL and arguments that are one too many."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence

import click

# Flags of GDAL's programs, and ours. A parser of short flags reads `-of GTiff` as `-o f`, and `-overwrite` as `-o verwrite`.
GDAL_FLAGS = {
    "-of": "-f",
    "-ot": "-t",
    "-co": "--co",
    "-a_nodata": "--nodata",
    "-srcnodata": "--nodata",
    "-dstnodata": "--nodata",
    "-tr": "--scale",
    "-wm": "--max-memory",
    "-overwrite": "--overwrite",
    "-quiet": "-q",
}


# Options whose value may be left out, with the values that they take, the first by default.
OPTIONAL_VALUES = {"--uncertainty": ("bands", "separate")}


def _with_values(args: Sequence[str]) -> list[str]:
    """Return arguments in which options without a value have the default one."""
    end = args.index("--") if "--" in args else len(args)
    return [
        f"{word}={OPTIONAL_VALUES[word][0]}"
        if word in OPTIONAL_VALUES and i < end and args[i + 1 : i + 2] not in [[v] for v in OPTIONAL_VALUES[word]]
        else word
        for i, word in enumerate(args)
    ]


def _exists(word: str) -> bool:
    return "://" in word or word.startswith("/vsi") or os.path.exists(word)  # noqa: PTH110  # a name may be too long for Path


class Command(click.Command):
    """A command of `dualsr-geo`."""

    # Whether the first argument may be several files of one band each, where a guide or a scale, and an output are given.
    takes_bands = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; flags of GDAL, and arguments that are left over, are usage errors with a remedy."""
        self._require_own_flags(ctx, args)
        args = _with_values(args)
        ctx.allow_extra_args = True
        super().parse_args(ctx, args)
        self._take_bands(ctx)
        if ctx.args and not ctx.resilient_parsing:
            ctx.fail(self._too_many(ctx, ctx.args))
        return ctx.args

    def _require_own_flags(self, ctx: click.Context, args: Sequence[str]) -> None:
        own = {flag for param in self.params for flag in param.opts}
        options = args[: args.index("--")] if "--" in args else args
        for word in options:
            if GDAL_FLAGS.get(word) in own and not ctx.resilient_parsing:
                ctx.fail(f"GDAL's {word} is {GDAL_FLAGS[word]} here.")

    def _take_bands(self, ctx: click.Context) -> None:
        """Take files that follow the scene as its further bands.

        Without an output a second file may be meant as one, and without a guide and a scale as the guide.
        """
        given = ctx.params
        is_complete = given.get("output") and (given.get("rgb") or given.get("scale"))
        if self.takes_bands and ctx.args and is_complete and all(_exists(word) for word in ctx.args):
            given["scene"] = (given["scene"], *ctx.args)
            ctx.args = []

    def _too_many(self, ctx: click.Context, extra: Sequence[str]) -> str:
        """Return the message for arguments that no parameter takes, with the options that they may be meant for."""
        words = " ".join(map(shlex.quote, extra))
        message = f"{words} {'is an argument' if len(extra) == 1 else 'are arguments'} too many."
        meant = self._meant(ctx, extra)
        return f"{message} Did you mean {meant}?" if meant else f"{message} See {ctx.command_path} --help."

    def _meant(self, ctx: click.Context, extra: Sequence[str]) -> str:
        """Return the options that extra arguments may be meant for: a file that exists the guide, another the product."""
        unused = {p.name for p in self.params if isinstance(p, click.Option) and not ctx.params.get(str(p.name))}
        guides = [word for word in extra if os.path.exists(word)]  # noqa: PTH110  # a name may be too long for Path
        others = [word for word in extra if word not in guides]
        if self.takes_bands and guides and not others and "rgb" not in unused and "output" in unused:
            return "bands of one scene, which need -o OUTPUT"
        if len(others) > 1 or (guides and "rgb" not in unused) or (others and "output" not in unused):
            return ""
        options = [f"--rgb {shlex.quote(word)}" for word in guides] + [f"-o {shlex.quote(word)}" for word in others]
        meant = " ".join(options)
        if others and not guides and "rgb" in unused:
            meant += f", or for a guide --rgb {shlex.quote(others[0])}, which does not exist"
        return meant
