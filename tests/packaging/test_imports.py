"""What importing costs, and what the surfaces promise to be."""

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

import dualsr_geo

HEAVY = ("torch", "scipy", "skimage", "rasterio", "distributed", "xarray", "pandas", "dask")


def modules_after(code):
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(run.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_heavy():
    assert not modules_after("import dualsr_geo").intersection(HEAVY)


def test_help_loads_nothing_heavy():
    code = (
        "from click.testing import CliRunner\n"
        "from dualsr_geo.cli import main\n"
        "assert 'upscale' in CliRunner().invoke(main, ['--help']).output\n"
        "assert '--rgb' in CliRunner().invoke(main, ['upscale', '--help']).output"
    )
    assert not modules_after(code).intersection(HEAVY)


@pytest.mark.parametrize("imports", ["dualsr_geo, xarray", "xarray, dualsr_geo", "dualsr_geo, rioxarray, xarray"])
def test_the_accessor_is_there_whoever_is_imported_first(imports):
    run = f"import {imports}; print(hasattr(xarray.DataArray, 'dualsr'), hasattr(xarray.Dataset, 'dualsr'))"
    made = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    assert made.stdout.split() == ["True", "True"]


@pytest.mark.parametrize("name", dualsr_geo.__all__)
def test_every_public_name_is_there(name):
    assert getattr(dualsr_geo, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'sharpen'"):
        dualsr_geo.sharpen  # noqa: B018


def test_rio_finds_the_command_under_its_own_name():
    found = [e for e in entry_points(group="rasterio.rio_plugins") if e.value == "dualsr_geo.cli:main"]
    if not found:
        pytest.skip("dualsr-geo is not installed here, so it has no entry points")
    # rio lists a plugin by the name of its command, not by that of the entry point.
    assert found[0].load().name == "dualsr"
