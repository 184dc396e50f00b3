"""The surface of the command line: every error is one line, and the exit code follows from its kind."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from dualsr_geo.errors import DualSRError, TileError, UnexpectedError
from dualsr_geo.messages import one_line
from dualsr_geo.redaction import masked, redact

# Key of the context of the running command, and of --debug, in the data that the contexts of a command line share.
MAX_INTEGER = 2**63 - 1
# Characters of a value in a message.
MAX_SHOWN = 40
RUNNING, DEBUG = "dualsr_geo.running", "dualsr_geo.debug"
# Key of a function that returns what an interrupt leaves.
INTERRUPTED = "dualsr_geo.interrupted"


def _note_debug(ctx: click.Context, _param: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click's own signature
    ctx.meta[DEBUG] = ctx.meta.get(DEBUG, False) or value
    ctx.meta[RUNNING] = ctx


def debug_option() -> click.Option:
    """Return the option ``--debug``, which every command has."""
    return click.Option(
        ["--debug"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_note_debug,
        help="After an error print its traceback too.",
    )


class Integer(click.types.IntParamType):
    """An integer of 64 bits."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the integer of a text."""
        number: int = super().convert(value, param, ctx)
        return _of_64_bits(self, number, param, ctx)


class IntegerRange(click.IntRange):
    """An integer of 64 bits in a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the integer of a text."""
        number: int = super().convert(value, param, ctx)
        return _of_64_bits(self, number, param, ctx)


def _of_64_bits(
    kind: click.ParamType[int], number: int, param: click.Parameter | None, ctx: click.Context | None
) -> int:
    if abs(number) > MAX_INTEGER:
        kind.fail(f"{one_line(number, MAX_SHOWN)} does not fit into 64 bits.", param, ctx)
    return number


def finish(command: click.Command) -> None:
    """Add ``--debug`` to a command and to those below it, and bound their integers."""
    command.params.append(debug_option())
    for param in command.params:
        kind = param.type
        if type(kind) is click.types.IntParamType:
            param.type = Integer()
        elif type(kind) is click.IntRange:
            param.type = IntegerRange(kind.min, kind.max, kind.min_open, kind.max_open, kind.clamp)
    if isinstance(command, click.Group):
        for below in command.commands.values():
            finish(below)


@contextlib.contextmanager
def one_line_errors(ctx: click.Context) -> Iterator[None]:
    """Turn every error into one that click prints as one line, and exits with 1; usage errors keep their code."""
    try:
        with _silent_hooks(ctx):
            yield
    except (click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except KeyboardInterrupt as error:
        raise _interrupted(ctx) from error
    except click.ClickException as error:
        error.message = one_line(redact(error.message))  # type: ignore[misc]  # final in click 8.5
        raise
    except DualSRError as error:
        _print_traceback(ctx, error)
        if isinstance(error, UnexpectedError):
            raise click.ClickException(_unexpected(ctx, error.__cause__ or error)) from error
        if isinstance(error, TileError) and hasattr(error, "__notes__"):
            raise click.ClickException(f"{error} {_report(error)}") from error
        raise click.ClickException(str(error)) from error
    except Exception as error:
        _print_traceback(ctx, error)
        raise click.ClickException(_foreign(ctx, error)) from error


@contextlib.contextmanager
def _silent_hooks(ctx: click.Context) -> Iterator[None]:
    """Print no traceback of errors that compiled code cannot raise, unless ``--debug`` requests tracebacks.

    rasterio prints one where a message of GDAL holds bytes of a damaged file; GDAL's error itself is raised.
    """
    before = sys.excepthook, sys.unraisablehook
    if not ctx.meta.get(DEBUG, False):
        sys.excepthook, sys.unraisablehook = (lambda *_: None), (lambda _: None)
    try:
        yield
    finally:
        sys.excepthook, sys.unraisablehook = before


def print_result(text: str) -> None:
    """Print the result of a command to standard output.

    Raises
    ------
    ClickException
        If it cannot be written; what the command did is done nevertheless.
    """
    try:
        _print(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        _discard_output()
        reason = error.strerror or str(error)
        raise click.ClickException(
            f"The result cannot be printed to standard output: {reason}. The command itself is finished."
        ) from error


def print_progress(text: str, *, err: bool = True) -> None:
    """Print a line of progress; a full disk behind the output stops no run, and `print_result` reports it."""
    try:
        _print(text, err=err)
    except BrokenPipeError:
        raise
    except OSError:
        return


def _print(text: str, *, err: bool = False) -> None:
    # JSON stays as it is but for the secrets of this command line.
    text = masked(text)
    with above_progress():
        try:
            click.echo(text, err=err)
        except UnicodeEncodeError:
            # A file name that is not UTF-8, or an output that is not.
            stream = sys.stderr if err else sys.stdout
            click.echo(text.encode(stream.encoding or "utf-8", "backslashreplace"), err=err)


@contextlib.contextmanager
def above_progress() -> Iterator[None]:
    """Remove the line of progress from the terminal while something is printed."""
    if "tqdm" not in sys.modules or not sys.stderr.isatty():
        yield
        return
    from tqdm import tqdm  # noqa: PLC0415  # loaded already

    with tqdm.external_write_mode():
        yield


def _discard_output() -> None:
    """Discard what standard output still buffers, which Python would try to write once more at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def _interrupted(ctx: click.Context) -> click.Abort:
    """Print what an interrupt leaves, and return the error that ends the program."""
    running: click.Context = ctx.meta.get(RUNNING, ctx)
    text = ""
    if any(p.name == "resume" for p in running.command.params):
        text = "Stopped. Finished parts are kept: run the same command with --resume to continue."
    if INTERRUPTED in ctx.meta:
        text = ctx.meta[INTERRUPTED]()
    if text:
        with contextlib.suppress(OSError):
            click.echo(f"\n{one_line(redact(text))}", err=True)
    return click.Abort()


def _print_traceback(ctx: click.Context, error: BaseException) -> None:
    if not ctx.meta.get(DEBUG):
        return
    from dualsr_geo.io.storage.defects import traceback_of  # noqa: PLC0415

    with contextlib.suppress(OSError):
        click.echo(traceback_of(error), err=True, nl=False)


def _foreign(ctx: click.Context, error: Exception) -> str:
    """Return the line for an error that is none of the program's own."""
    from dualsr_geo.io.storage.defects import describe, is_out_of_memory  # noqa: PLC0415

    if isinstance(error, Warning):
        return (
            f"{describe(error)}. Python turns warnings into errors here (-W error or PYTHONWARNINGS); leave that out."
        )
    if is_out_of_memory(error):
        return f"The memory does not suffice ({describe(error)}). {_less_memory(ctx)}"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full ({describe(error)}). Free some space and run again."
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "A name has a zero byte, which no file name has. Correct it."
    return _unexpected(ctx, error)


def _less_memory(ctx: click.Context) -> str:
    """Return the way to use less memory in a command."""
    names = {p.name for p in ctx.meta.get(RUNNING, ctx).command.params}
    if "tile" in names:
        return "Give a smaller --tile, fewer --jobs, or bands with --bidx."
    if "size" in names:
        return "Give a smaller --size or fewer --bands."
    if "patch" in names:
        return "Give a smaller --batch or --patch."
    return "Give fewer bands with --bidx." if "bidx" in names else "Use a machine with more memory."


def _unexpected(ctx: click.Context, error: BaseException) -> str:
    """Write the traceback of a defect to a file, and return the line that asks for a report."""
    from dualsr_geo.io.storage.defects import describe  # noqa: PLC0415

    return f"{_command(ctx)} failed unexpectedly: {describe(error)}. {_report(error)}"


def _report(error: BaseException) -> str:
    from dualsr_geo.io.storage.defects import REPORT, write_traceback  # noqa: PLC0415

    path = write_traceback(error)
    where = "the traceback that --debug prints" if path is None else f"{path}, which holds the traceback"
    return f"{REPORT}, with {where}."


def _command(ctx: click.Context) -> str:
    """Return the running command, and its first argument."""
    from dualsr_geo.io.storage.defects import MAX_NAME  # noqa: PLC0415

    running: click.Context = ctx.meta.get(RUNNING, ctx)
    for param in running.command.params:
        value = running.params.get(str(param.name))
        if isinstance(param, click.Argument) and value:
            first = value[0] if isinstance(value, tuple) else value
            return f"`{running.command_path} {one_line(redact(str(first)), MAX_NAME)}`"
    return f"`{running.command_path}`"
