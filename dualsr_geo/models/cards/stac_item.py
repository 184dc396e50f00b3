"""The STAC item of a weights file, with the extensions Machine Learning Model (MLM) 1.4 and file 2.1.

The fields are those of https://github.com/stac-extensions/mlm. An item describes the model as a whole, from scene and
guide to product: the planes that the network itself reads are computed by this package.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pystac

from dualsr_geo.models.cards.weights_file import WeightsFile

MLM_EXTENSION = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
FILE_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
ITEM_NAME, PAGE_NAME = "mlm.json", "README.md"
TASKS = ["super-resolution"]
# No type is registered for safetensors; the extension recommends the general one, with the framework.
WEIGHTS_TYPE = "application/octet-stream; framework=pytorch"
ARTIFACT_TYPE = "safetensors.torch.save"
ENTRYPOINT = "dualsr_geo:upscale"
# A model serves any place and any time; these are the bounds that the extension's best practices give for it.
WORLD = [-180.0, -90.0, 180.0, 90.0]
FIRST, LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
# Code of SHA-256 and its length in bytes, in front of a checksum of the extension file.
SHA256_PREFIX = "1220"
DIMENSIONS = ["band", "height", "width"]
ANY_SIZE = -1
# Licences that STAC takes as they are: SPDX identifiers. Others are described by the page.
SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*")
OTHER_LICENCE = "other"
# Versions of PyTorch that the extension takes: semantic versions.
VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(\+[0-9A-Za-z.-]+)?")


def item_of(file: WeightsFile) -> dict[str, Any]:
    """Return the item of a weights file, whose assets are in the folder of the item.

    Parameters
    ----------
    file : WeightsFile

    Returns
    -------
    dict
        A STAC 1.1 item, JSON.
    """
    west, south, east, north = WORLD
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    item = pystac.Item(
        f"dualsr-geo-{file.name}",
        {"type": "Polygon", "coordinates": [ring]},
        WORLD,
        None,
        _properties(file),
        start_datetime=FIRST,
        end_datetime=LAST,
        stac_extensions=[MLM_EXTENSION, FILE_EXTENSION],
    )
    item.add_asset("model", _weights_asset(file))
    page = pystac.Asset(f"./{PAGE_NAME}", title="Model card", media_type="text/markdown", roles=["metadata"])
    item.add_asset("card", page)
    content: dict[str, Any] = item.to_dict(include_self_link=False)
    return content


def _weights_asset(file: WeightsFile) -> pystac.Asset:
    fields = {
        "mlm:artifact_type": ARTIFACT_TYPE,
        "mlm:entrypoint": ENTRYPOINT,
        "file:size": file.size_bytes,
        "file:checksum": SHA256_PREFIX + file.sha256,
    }
    return pystac.Asset(
        f"./{file.path.name}",
        title=f"Weights of {file.name}",
        media_type=WEIGHTS_TYPE,
        roles=["mlm:model", "mlm:weights", "data"],
        extra_fields=fields,
    )


def _properties(file: WeightsFile) -> dict[str, Any]:
    training, licence = file.training, file.card.licence
    fields = {
        "title": f"dualsr-geo {file.name}",
        "description": file.summary,
        "license": licence if SPDX.fullmatch(licence) and licence != "unknown" else OTHER_LICENCE,
        "mlm:name": _model_name(file),
        "mlm:architecture": file.architecture,
        "mlm:tasks": TASKS,
        "mlm:framework": "PyTorch",
        "mlm:framework_version": training.torch if VERSION.fullmatch(training.torch) else None,
        "mlm:memory_size": file.memory_bytes,
        "mlm:total_parameters": file.parameters,
        "mlm:pretrained": True,
        "mlm:pretrained_source": ", ".join(training.scenes) or file.card.source or None,
        "mlm:input": _inputs(file),
        "mlm:output": [_output()],
        "mlm:hyperparameters": _hyperparameters(file),
    }
    return {name: value for name, value in fields.items() if value is not None} | {"mlm:accelerator": None}


def _model_name(file: WeightsFile) -> str:
    """Return a name of the characters that the extension allows."""
    plain = re.sub(r"[^A-Za-z0-9_. -]", "-", f"dualsr-geo {file.name}")
    return plain.rstrip("_. -")


def _inputs(file: WeightsFile) -> list[dict[str, Any]]:
    scene = _input("scene", file.card.bands, "The scene on its own grid, in any unit; dualsr-geo scales it itself.")
    if not file.takes_guide:
        return [scene]
    text = "The guide, sharper than the scene by the ratio; dualsr-geo aligns it with the scene's grid."
    return [scene, _input("guide", file.card.guide_bands, text)]


def _input(name: str, bands: int, description: str) -> dict[str, Any]:
    """Return an input; its bands have no names, since the network serves bands of any wavelength."""
    return {
        "name": name,
        "bands": [],
        "input": {"shape": [bands or ANY_SIZE, ANY_SIZE, ANY_SIZE], "dim_order": DIMENSIONS, "data_type": "float32"},
        "description": description,
        "value_scaling": None,
        "resize_type": None,
        "pre_processing_function": {"format": "python", "expression": ENTRYPOINT},
    }


def _output() -> dict[str, Any]:
    return {
        "name": "product",
        "tasks": TASKS,
        "result": {"shape": [ANY_SIZE] * 3, "dim_order": DIMENSIONS, "data_type": "float32"},
        "description": "The bands of the scene, height and width times the ratio, in the unit of the scene.",
        "post_processing_function": None,
    }


def _hyperparameters(file: WeightsFile) -> dict[str, Any]:
    """Return the sizes of the network: ratio 0 where it serves several, halo and block in pixels of the scene."""
    card = file.card
    return {"ratio": card.ratio, "width": card.width, "halo": card.halo, "block": card.block, "seam": card.seam}
