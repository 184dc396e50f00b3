"""Private names of other libraries, for which there is no public one; tests/test_compat.py has a test of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr


def gdal_error_type() -> type[Exception]:
    """Return the class of the errors that `rasterio.shutil.copy` raises, which rasterio.errors does not export."""
    from rasterio._err import CPLE_BaseError  # noqa: PLC0415  # loads GDAL

    error_type: type[Exception] = CPLE_BaseError
    return error_type


def closed_connection_type() -> type[Exception]:
    """Return the class of the errors that distributed raises when a connection closes, which it does not export."""
    from distributed.comm.core import CommClosedError  # noqa: PLC0415  # loads distributed

    error_type: type[Exception] = CommClosedError
    return error_type


def is_in_memory(variable: xr.Variable) -> bool:
    """Return whether the values of a variable are in memory, not in a file that xarray has yet to read.

    Where xarray has no such name, the answer is yes: the values are then read.
    """
    in_memory: Any = getattr(variable, "_in_memory", True)
    return bool(in_memory)
