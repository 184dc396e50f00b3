"""What importing the package loads, and the names that it offers."""

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


def test_options_and_blurs_do_not_load_torch():
    code = "from dualsr_geo import Options, Psf; Options(scale=4, psf=Psf.from_mtf(4))"
    assert not modules_after(code).intersection(HEAVY)


@pytest.mark.parametrize("model", ["brovey", "auto"])
def test_a_run_from_geotiff_to_geotiff_loads_only_what_it_needs(model, tmp_path):
    code = (
        "from dualsr_geo.cli import main\n"
        f"main(['sample', {str(tmp_path)!r}, '--bands', '4', '--size', '24', '24', '--scale', '2'], standalone_mode=False)"
    )
    modules_after(code)
    scene, pan, product = (str(tmp_path / name) for name in ("scene.tif", "pan.tif", "product.tif"))
    arguments = ["upscale", scene, "--rgb", pan, "-o", product, "--model", model]
    loaded = modules_after(f"from dualsr_geo.cli import main; main({arguments!r}, standalone_mode=False)")
    unneeded = {
        "xarray",
        "pandas",
        "rioxarray",
        "dask.array",
        "distributed",
        "scipy.io",
        "scipy.interpolate",
        "scipy.stats",
    }
    unneeded |= {"skimage.transform", "matplotlib", "PIL", "h5netcdf", "torch._dynamo", "sympy", "dualsr_geo.training"}
    assert "torch" in loaded
    assert not loaded & unneeded


def test_the_status_of_a_batch_loads_no_torch(tmp_path):
    code = (
        "from click.testing import CliRunner\n"
        "from dualsr_geo.cli import main\n"
        f"result = CliRunner().invoke(main, ['batch', '--status', '-o', {str(tmp_path / 'out')!r}])\n"
        "assert 'no batch' in result.output.lower(), result.output"
    )
    assert not modules_after(code) & {"torch", "scipy", "skimage", "xarray", "pandas"}


def test_dir_lists_the_public_names():
    assert set(dualsr_geo.__all__) <= set(dir(dualsr_geo))


def test_the_package_runs_as_a_module():
    run = subprocess.run([sys.executable, "-m", "dualsr_geo", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"dualsr-geo, version {dualsr_geo.__version__}\n"


def test_help_loads_nothing_heavy():
    code = (
        "from click.testing import CliRunner\n"
        "from dualsr_geo.cli import main\n"
        "assert 'upscale' in CliRunner().invoke(main, ['--help']).output\n"
        "assert '--rgb' in CliRunner().invoke(main, ['upscale', '--help']).output"
    )
    assert not modules_after(code).intersection(HEAVY)


@pytest.mark.parametrize("imports", ["dualsr_geo, xarray", "xarray, dualsr_geo", "dualsr_geo, rioxarray, xarray"])
def test_the_accessor_is_registered_in_any_order_of_imports(imports):
    run = f"import {imports}; print(hasattr(xarray.DataArray, 'dualsr'), hasattr(xarray.Dataset, 'dualsr'))"
    result = subprocess.run([sys.executable, "-c", run], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "True"]


@pytest.mark.parametrize("name", dualsr_geo.__all__)
def test_every_public_name_is_defined(name):
    assert getattr(dualsr_geo, name) is not None


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'sharpen'"):
        dualsr_geo.sharpen  # noqa: B018


def test_rio_finds_the_command_under_its_own_name():
    plugins = [e for e in entry_points(group="rasterio.rio_plugins") if e.value == "dualsr_geo.cli:main"]
    if not plugins:
        pytest.skip("dualsr-geo is not installed here, so it has no entry points")
    # rio lists a plugin by the name of its command, not by that of the entry point.
    assert plugins[0].load().name == "dualsr"
