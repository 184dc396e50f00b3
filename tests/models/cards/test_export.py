"""Exported models: valid items by STAC's schema and the fields of the extension, and files that work as weights."""

import hashlib
import json
from pathlib import Path

import jsonschema
import numpy as np
import pystac
import pystac.validation
import pytest
import rasterio
import torch
import yaml
from click.testing import CliRunner
from published_networks import state_coarsr

import dualsr_geo
from dualsr_geo import synthetic
from dualsr_geo.cli import main
from dualsr_geo.errors import InputError, KeywordError, OptionError, OutputError
from dualsr_geo.models.weights import Card, save

TEXT, COUNT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 0}
# The fields of the extension MLM that are written here, as the tables of its version 1.4 define them.
ARRAY = {
    "type": "object",
    "properties": {
        "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}, "minItems": 1},
        "dim_order": {"type": "array", "items": {"type": "string", "pattern": "^[a-z-_]+$"}, "uniqueItems": True},
        "data_type": {"const": "float32"},
    },
    "required": ["shape", "dim_order", "data_type"],
    "additionalProperties": False,
}
FUNCTION = {
    "anyOf": [
        {"type": "null"},
        {
            "type": "object",
            "properties": {"format": {"const": "python"}, "expression": {"type": "string", "pattern": r"^[\w.]+:\w+$"}},
            "required": ["format", "expression"],
            "additionalProperties": False,
        },
    ]
}
TASKS = {"const": ["super-resolution"]}
INPUT = {
    "type": "object",
    "properties": {
        "name": TEXT, "bands": {"type": "array", "items": TEXT}, "input": ARRAY, "description": TEXT,
        "value_scaling": {"type": "null"}, "resize_type": {"type": "null"}, "pre_processing_function": FUNCTION,
    },
    "required": ["name", "bands", "input"],
    "additionalProperties": False,
}  # fmt: skip
OUTPUT = {
    "type": "object",
    "properties": {
        "name": TEXT, "tasks": TASKS, "result": ARRAY, "description": TEXT, "post_processing_function": FUNCTION,
    },
    "required": ["name", "tasks", "result"],
    "additionalProperties": False,
}  # fmt: skip
PROPERTIES = {
    "type": "object",
    "properties": {
        "mlm:name": {"type": "string", "pattern": r"^[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]$"},
        "mlm:architecture": TEXT,
        "mlm:tasks": TASKS,
        "mlm:framework": {"const": "PyTorch"},
        "mlm:framework_version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+(\+[0-9a-zA-Z.-]+)?$"},
        "mlm:memory_size": COUNT,
        "mlm:total_parameters": COUNT,
        "mlm:pretrained": {"type": "boolean"},
        "mlm:pretrained_source": TEXT,
        "mlm:accelerator": {"type": "null"},
        "mlm:input": {"type": "array", "items": INPUT, "minItems": 1},
        "mlm:output": {"type": "array", "items": OUTPUT, "minItems": 1},
        "mlm:hyperparameters": {"type": "object", "minProperties": 1},
    },
    "required": ["mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"],
    "additionalProperties": False,
}
NETWORKS = ("guided", "unguided")
ASSET_FIELDS = {"mlm:artifact_type", "mlm:entrypoint", "file:size", "file:checksum"}


def require_valid(path: Path) -> dict:
    """Check an item by pystac's copies of STAC's own schemas, its extensions' fields by their tables; return it."""
    content = json.loads(path.read_text())
    pystac.validation.validate_dict(content, extensions=[])
    jsonschema.validate({k: v for k, v in content["properties"].items() if ":" in k}, PROPERTIES)
    (model,) = [a for a in content["assets"].values() if "mlm:model" in a["roles"]]
    assert {k for k in model if ":" in k} == ASSET_FIELDS
    weights = (path.parent / model["href"]).read_bytes()
    assert model["file:size"] == len(weights)
    # 12 is SHA-256, 20 its 32 bytes, in hexadecimal digits.
    assert model["file:checksum"] == "1220" + hashlib.sha256(weights).hexdigest()
    assert all((path.parent / asset["href"]).is_file() for asset in content["assets"].values())
    return content


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "new" / "deeper"
    dualsr_geo.export_models(folder)
    return folder


def test_the_default_is_exported_as_a_catalog_of_valid_items(exported):
    networks = [{f"{name}/{file}" for file in ("README.md", f"{name}.safetensors", "mlm.json")} for name in NETWORKS]
    written = {str(p.relative_to(exported)) for p in exported.rglob("*") if p.is_file()}
    assert written == {"catalog.json"}.union(*networks)
    catalog = pystac.Catalog.from_file(str(exported / "catalog.json"))
    pystac.validation.validate_dict(json.loads((exported / "catalog.json").read_text()))
    assert [i.id for i in catalog.get_items()] == ["dualsr-geo-guided", "dualsr-geo-unguided"]
    guided, unguided = (require_valid(exported / name / "mlm.json") for name in NETWORKS)
    assert [i["name"] for i in guided["properties"]["mlm:input"]] == ["scene", "guide"]
    assert [i["name"] for i in unguided["properties"]["mlm:input"]] == ["scene"]
    assert guided["properties"]["license"] == "Apache-2.0"
    assert guided["properties"]["mlm:total_parameters"] == 126670


def test_pystac_reads_the_extension(exported):
    mlm = pytest.importorskip("pystac.extensions.mlm")
    item = pystac.Item.from_file(str(exported / "guided" / "mlm.json"))
    model = mlm.MLMExtension.ext(item)
    assert (model.mlm_name, model.tasks, model.framework) == ("dualsr-geo guided", ["super-resolution"], "PyTorch")
    assert [i.input.dim_order for i in model.input] == [["band", "height", "width"]] * 2
    assert model.output[0].result.shape == [-1, -1, -1]
    asset = mlm.AssetGeneralMLMExtension.ext(item.assets["model"])
    assert asset.entrypoint == "dualsr_geo:upscale"


def test_exported_weights_sharpen_as_the_default_does(exported, tmp_path):
    scene, guide = synthetic.write(tmp_path, shape=(20, 22), bands=3)
    for name, model in {"a.tif": "auto", "b.tif": exported / "guided" / "guided.safetensors"}.items():
        dualsr_geo.upscale(scene, tmp_path / name, rgb=guide, model=model, jobs=1)
    with rasterio.open(tmp_path / "a.tif") as expected, rasterio.open(tmp_path / "b.tif") as product:
        np.testing.assert_array_equal(product.read(), expected.read())


def test_the_page_has_the_fields_of_hubs_and_the_facts_of_the_card(exported):
    page = (exported / "guided" / "README.md").read_text()
    _, head, body = page.split("---\n", 2)
    fields = yaml.safe_load(head)
    assert fields["license"] == "apache-2.0"
    assert "super-resolution" in fields["tags"]
    assert "Trained on 19 scenes: abu-airport-4" in body
    assert "| jasper x4 rgb mtf | 31.53 | 31.71 |" in body
    assert "upscale scene.tif --rgb guide.tif --model guided.safetensors" in body
    assert "thermal bands, radar" in body


def test_an_export_replaces_nothing_unless_it_may(exported):
    before = (exported / "guided" / "mlm.json").stat().st_mtime_ns
    with pytest.raises(OutputError, match=r"guided.safetensors exists. Give --overwrite to replace it, or another"):
        dualsr_geo.export_models(exported)
    assert (exported / "guided" / "mlm.json").stat().st_mtime_ns == before
    items = dualsr_geo.export_models(exported, ["auto", "learned"], overwrite=True)
    assert [p.parent.name for p in items] == ["guided", "unguided"]


def test_a_foreign_catalog_is_left_as_it_is(tmp_path):
    (tmp_path / "catalog.json").write_text('{"type": "Catalog", "id": "mine"}')
    with pytest.raises(OutputError, match=r"catalog.json exists"):
        dualsr_geo.export_models(tmp_path)
    assert "mine" in (tmp_path / "catalog.json").read_text()
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize(
    "note", ["", "two lines\nof | text", '{"torch": "nightly", "scenes": 3}'], ids=["none", "text", "strange"]
)
def test_own_weights_with_any_card_have_a_valid_item(tmp_path, note):
    card = Card("coarsr", 4, 8, bands=31, halo=9, source="here: \"a\" 'b'", licence="see LICENCE, please", note=note)
    path = tmp_path / "größe 4?.safetensors"
    save(path, {"a": torch.zeros(3, 4)}, card)
    # Weights of no network that can be built are refused before anything is written.
    with pytest.raises(InputError):
        dualsr_geo.export_models(tmp_path / "out", path)
    assert not (tmp_path / "out").exists()
    from dualsr_geo.models.cards.page import page_of
    from dualsr_geo.models.cards.stac_item import item_of
    from dualsr_geo.models.cards.weights_file import WeightsFile

    file = WeightsFile.read(path)
    item = item_of(file)
    (tmp_path / "mlm.json").write_text(json.dumps(item))
    (tmp_path / "README.md").write_text(page_of(file))
    assert require_valid(tmp_path / "mlm.json")["properties"]["license"] == "other"
    assert item["properties"]["mlm:input"][0]["input"]["shape"] == [31, -1, -1]
    assert yaml.safe_load(page_of(file).split("---\n")[1])["license"] == "see licence, please"


def test_an_imported_network_is_exported_by_the_command(tmp_path):
    torch.save({"epoch": 7, "model": dict(state_coarsr(4, 8, batch_norm=True))}, tmp_path / "w.pth")
    weights = str(tmp_path / "w.safetensors")
    assert CliRunner().invoke(main, ["models", "import", str(tmp_path / "w.pth"), "-o", weights]).exit_code == 0
    run = CliRunner().invoke(main, ["models", "export", str(tmp_path / "out"), "--model", weights, "--json"])
    assert run.exit_code == 0, run.output
    (path,) = json.loads(run.stdout)
    item = require_valid(Path(path))
    assert item["properties"]["mlm:hyperparameters"]["ratio"] == 4
    assert "Dual-Stage Approach" in (Path(path).parent / "README.md").read_text()


@pytest.mark.parametrize(
    ("model", "error", "text"),
    [
        ("bicubic", OptionError, r"The model `bicubic` has no network to export. Give --model auto, or a weights file."),
        ("none", OptionError, "There is no model `none`"),
        ([], OptionError, "No model is given. Give --model"),
        (3, KeywordError, "`model` is 3"),
    ],
)  # fmt: skip
def test_what_has_no_network_is_refused(tmp_path, model, error, text):
    with pytest.raises(error, match=text):
        dualsr_geo.export_models(tmp_path / "out", model)
    assert not (tmp_path / "out").exists()


def test_two_files_of_one_name_and_a_file_as_folder_are_refused(exported, tmp_path):
    (tmp_path / "x").mkdir()
    copy = tmp_path / "x" / "guided.safetensors"
    copy.write_bytes((exported / "guided" / "guided.safetensors").read_bytes())
    with pytest.raises(OptionError, match="Two weights files are named guided"):
        dualsr_geo.export_models(tmp_path / "out", ["auto", copy])
    with pytest.raises(OutputError, match="is no folder. Give another DIR"):
        dualsr_geo.export_models(copy)
    # The weights themselves are not replaced by their copy.
    with pytest.raises(OutputError, match="is the input"):
        dualsr_geo.export_models(exported, exported / "guided" / "guided.safetensors", overwrite=True)
