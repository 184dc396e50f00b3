"""Write models into a folder: a STAC catalog with an item, the weights and a page for each network."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from dualsr_geo.argument_types import checked, flag, path, path_or_paths
from dualsr_geo.errors import OptionError, OutputError
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.io.storage.names import require_name
from dualsr_geo.io.storage.side_files import kind_of, require_side_file
from dualsr_geo.models.cards.page import page_of
from dualsr_geo.models.cards.stac_item import ITEM_NAME, PAGE_NAME, item_of
from dualsr_geo.models.cards.weights_file import WeightsFile
from dualsr_geo.models.registry import load_model, models
from dualsr_geo.serialization import write_atomically

CATALOG_NAME, CATALOG_ID = "catalog.json", "dualsr-geo-models"
DEFAULT = "auto"


@reports_defects
@checked(folder=path, model=path_or_paths, overwrite=flag)
def export_models(
    folder: str | os.PathLike[str],
    model: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = DEFAULT,
    *,
    overwrite: bool = False,
) -> list[Path]:
    """Write the networks of models into a folder, described for STAC catalogues and model hubs.

    Each network is a folder of its own: ``mlm.json``, a STAC 1.1 item with the extension Machine Learning Model
    1.4, its weights as safetensors, and a model card, ``README.md``. ``catalog.json`` links the items.

    Parameters
    ----------
    folder : path
        Is created if it is missing.
    model : str or path, or several
        Names of models that have networks, or weights files.
    overwrite : bool
        Replace the files of an earlier export.

    Returns
    -------
    list of Path
        The items.

    Raises
    ------
    OptionError
        If a model is unknown or has no network, or two networks have the same name.
    InputError
        If a weights file is damaged.
    OutputError
        If a file exists and may not be replaced, or cannot be written.
    """
    place = Path(require_name(folder, "output folder", OutputError))
    files = _networks([model] if isinstance(model, str | os.PathLike) else model)
    content = {place / file.name / name: data for file in files for name, data in _documents(file).items()}
    _make_folders(place, [place / file.name for file in files])
    sources = [file.path for file in files]
    for target in content:
        require_side_file(target, "DIR", inputs=sources, overwrite=overwrite)
    # A catalog of an earlier export into the same folder is extended.
    require_side_file(place / CATALOG_NAME, "DIR", is_ours=lambda head: CATALOG_ID.encode() in head)
    for target, data in content.items():
        write_atomically(target, data)
    write_atomically(place / CATALOG_NAME, _json(_catalog(place)))
    return [place / file.name / ITEM_NAME for file in files]


def _networks(names: Sequence[str | os.PathLike[str]]) -> list[WeightsFile]:
    """Return the weights files of models, each once, in this order."""
    paths = list(dict.fromkeys(p for name in names for p in _weights_of(name)))
    stems = [p.stem for p in paths]
    if repeated := next((s for s in stems if stems.count(s) > 1), None):
        raise OptionError(f"Two weights files are named {repeated}. Rename one, or export it into another folder.")
    if not paths:
        raise OptionError("No model is given. Give --model NAME or FILE, or leave it out.")
    return [WeightsFile.read(p) for p in paths]


def _weights_of(name: str | os.PathLike[str]) -> list[Path]:
    model = load_model(name)
    if os.fspath(name) not in models():
        return [Path(name).absolute()]
    paths = [Path(weights.path) for weights in model.networks.values()]
    if not paths:
        raise OptionError(f"The model `{name}` has no network to export. Give --model {DEFAULT}, or a weights file.")
    return paths


def _documents(file: WeightsFile) -> dict[str, str | bytes]:
    """Return the files of a network by name, the item last: where it is, the others are complete."""
    return {
        file.path.name: file.path.read_bytes(),
        PAGE_NAME: page_of(file),
        ITEM_NAME: _json(item_of(file)),
    }


def _make_folders(place: Path, folders: Sequence[Path]) -> None:
    for folder in (place, *folders):
        if kind_of(folder, follow=True) not in (None, "folder"):
            raise OutputError(f"{folder} is no folder. Give another DIR.")
        try:
            folder.mkdir(parents=folder == place, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The folder {folder} cannot be created: {error.strerror}. Give another DIR.") from error


def _catalog(place: Path) -> dict[str, object]:
    """Return the catalog of all items in a folder."""
    items = sorted(place.glob(f"*/{ITEM_NAME}"))
    links = [{"rel": "root", "href": f"./{CATALOG_NAME}", "type": "application/json"}]
    links += [
        {"rel": "item", "href": f"./{item.parent.name}/{ITEM_NAME}", "type": "application/geo+json"} for item in items
    ]
    return {
        "type": "Catalog",
        "stac_version": "1.1.0",
        "id": CATALOG_ID,
        "title": "Networks of dualsr-geo",
        "description": "Networks that sharpen scenes, an item each.",
        "links": links,
    }


def _json(content: object) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
