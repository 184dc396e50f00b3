"""Private names of other libraries that the package uses: which library and version broke one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import distributed
import numpy as np
import pytest
import rasterio
import rasterio.shutil
import xarray as xr
from distributed import comm

from dualsr_geo._compat import closed_connection_type, gdal_error_type, is_in_memory


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_rasterio_raises_gdal_errors_of_the_private_class(tmp_path: Path) -> None:
    version = f"rasterio {rasterio.__version__}"
    try:
        error_type = gdal_error_type()
    except ImportError:
        pytest.fail(f"{version} has no rasterio._err.CPLE_BaseError")
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", count=1, height=16, width=16, dtype="uint8") as file:
        file.write(np.ones((1, 16, 16), "uint8"))
    try:
        rasterio.shutil.copy(str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), driver="COG", BLOCKSIZE="17")
    except error_type:
        return
    except Exception as error:  # noqa: BLE001  # whatever it is now
        pytest.fail(f"{version} raises {type(error)} where GDAL refuses an option, not {error_type}")
    pytest.fail(f"{version} raises nothing where GDAL refuses an option")


def test_distributed_raises_the_private_class_for_a_closed_connection() -> None:
    version = f"distributed {distributed.__version__}"
    try:
        error_type = closed_connection_type()
    except ImportError:
        pytest.fail(f"{version} has no distributed.comm.core.CommClosedError")

    async def write_to_closed() -> None:
        async with comm.listen("inproc://", lambda _: None) as listener:
            connection = await comm.connect(listener.contact_address)
            await connection.close()
            await connection.write("text")

    with pytest.raises(OSError) as caught:  # its class is what is tested
        asyncio.run(write_to_closed())
    assert isinstance(caught.value, error_type), f"{version} raises {caught.type} for a closed connection"


def test_xarray_tells_values_in_memory_from_values_in_a_file(tmp_path: Path) -> None:
    xr.DataArray(np.ones((2, 3)), dims=("y", "x"), name="a").to_netcdf(tmp_path / "a.nc")
    with xr.open_dataarray(tmp_path / "a.nc") as lazy:
        assert hasattr(lazy.variable, "_in_memory"), f"xarray {xr.__version__} has no Variable._in_memory"
        assert not is_in_memory(lazy.variable), f"xarray {xr.__version__}: Variable._in_memory is true before reading"
        lazy.load()
        assert is_in_memory(lazy.variable), f"xarray {xr.__version__}: Variable._in_memory is false after reading"
