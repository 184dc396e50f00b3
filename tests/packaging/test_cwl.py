"""The CWL application package: its form, its options, and the very command of its tool, from STAC to STAC."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import pystac
import pystac.validation
import pytest
import rasterio
import yaml

import dualsr_geo
from dualsr_geo import cli, synthetic
from dualsr_geo.version import __version__

PLACE = Path(__file__).parents[2] / "plugins/cwl/dualsr-geo.cwl"


@pytest.fixture(scope="module")
def package():
    return yaml.safe_load(PLACE.read_text())


@pytest.fixture(scope="module")
def parts(package):
    return {part["class"]: part for part in package["$graph"]}


def test_it_is_a_workflow_of_one_tool(package, parts):
    assert package["cwlVersion"] == "v1.2"
    assert package["s:softwareVersion"] == __version__
    workflow, tool = parts["Workflow"], parts["CommandLineTool"]
    (step,) = workflow["steps"].values()
    assert step["run"] == f"#{tool['id']}"
    assert set(step["in"]) == set(workflow["inputs"]) == set(tool["inputs"])
    for name, value in tool["inputs"].items():
        assert value["type"] == workflow["inputs"][name]["type"]
        assert workflow["inputs"][name]["label"]
        assert workflow["inputs"][name]["doc"]
    assert step["out"] == list(tool["outputs"]) == ["products"]
    assert workflow["outputs"]["products"]["outputSource"] == "sharpen/products"
    assert tool["hints"]["DockerRequirement"]["dockerPull"].endswith(f":{__version__}")


def test_its_flags_are_those_of_the_command(parts):
    tool = parts["CommandLineTool"]
    known = {o for p in cli.main.commands["batch"].params if isinstance(p, click.Option) for o in p.opts}
    prefixes = [i["inputBinding"]["prefix"] for i in tool["inputs"].values() if "inputBinding" in i]
    arguments = [a for a in tool["arguments"] if isinstance(a, str)]
    arguments += [a["prefix"] for a in tool["arguments"] if not isinstance(a, str) and "prefix" in a]
    assert {*prefixes, *arguments} <= known


def command(tool, values):
    """Return the command line that a runner makes of the tool and its inputs."""
    line = list(tool["baseCommand"])
    for argument in tool["arguments"]:
        if isinstance(argument, str):
            line.append(argument)
            continue
        line += [argument["prefix"]] if "prefix" in argument else []
        line.append(argument["valueFrom"].replace("$(inputs.items.path)", str(values["items"])))
    for name, described in tool["inputs"].items():
        if name in values and "inputBinding" in described:
            line += [described["inputBinding"]["prefix"], str(values[name])]
    return line


@pytest.fixture
def staged(tmp_path):
    """A staged catalog of one item, with the assets ms and pan."""
    folder = tmp_path / "staged"
    files = synthetic.write(folder / "a", shape=(20, 24), bands=4, guide="pan", seed=3)
    item = pystac.Item("a", None, None, pystac.utils.str_to_datetime("2024-05-01T10:00:00Z"), {})
    for key, file, role in (("ms", files[0], "data"), ("pan", files[1], "pan")):
        item.add_asset(key, pystac.Asset(f"./{file.name}", roles=[role]))
    catalog = pystac.Catalog("staged", "staged")
    catalog.add_item(item)
    catalog.normalize_hrefs(str(folder))
    catalog.save(pystac.CatalogType.SELF_CONTAINED)
    return folder, files


def test_the_command_of_the_tool_makes_a_catalog_of_products(parts, staged, tmp_path):
    folder, files = staged
    values = {"items": folder, "asset": "ms", "guide": "pan", "model": "regression", "jobs": 1}
    program, *arguments = command(parts["CommandLineTool"], values)
    assert program == "dualsr-geo"
    run = subprocess.run(
        [sys.executable, "-m", "dualsr_geo", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    out = tmp_path / parts["CommandLineTool"]["outputs"]["products"]["outputBinding"]["glob"]
    catalog = pystac.Catalog.from_file(str(out / "catalog.json"))
    (item,) = catalog.get_items()
    pystac.validation.validate_dict(catalog.to_dict())
    product = Path(item.assets["data"].get_absolute_href())
    assert product.is_relative_to(out)
    dualsr_geo.upscale(files[0], tmp_path / "expected.tif", guide=files[1], model="regression", jobs=1)
    with rasterio.open(product) as ours, rasterio.open(tmp_path / "expected.tif") as expected:
        np.testing.assert_array_equal(ours.read(), expected.read())
