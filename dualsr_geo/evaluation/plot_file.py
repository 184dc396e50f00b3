"""The file of a plot: checked before the work, and written whole."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.side_files import require_side_file
from dualsr_geo.raster.scene import Scene
from dualsr_geo.serialization import write_atomically

# The first bytes of a PNG; an older plot is replaced, and no other file.
PNG_SIGNATURE = b"\x89PNG\r\n"


def require_plot(
    plot: str | os.PathLike[str], given: Iterable[str | os.PathLike[str]], opened: Iterable[Scene] = ()
) -> None:
    """Check that a plot can be written.

    Parameters
    ----------
    plot : path
    given : iterable of path
        The inputs as the user named them.
    opened : iterable of Scene
        The inputs, whose files are none of the plot.

    Raises
    ------
    OutputError
        As `require_side_file`.
    """
    files = [file for scene in opened for file in scene.source.files_read()]
    require_side_file(plot, "--plot", inputs=[*given, *files], is_ours=lambda head: head.startswith(PNG_SIGNATURE))


def write_plot(image: Image.Image, plot: str | os.PathLike[str]) -> None:
    """Write a plot as PNG.

    Raises
    ------
    OutputError
        If the disk refuses.
    """
    content = io.BytesIO()
    image.save(content, format="PNG")
    try:
        write_atomically(Path(plot), content.getvalue())
    except OSError as error:
        raise OutputError(f"The plot {plot} cannot be written: {error.strerror}. Give another --plot.") from error
