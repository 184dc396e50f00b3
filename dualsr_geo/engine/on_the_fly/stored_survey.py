"""The survey of a scene as it is stored: `survey.json`, complete, versioned, and checked when it is read."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

from dualsr_geo.engine.on_the_fly.json_form import require_fields, require_form
from dualsr_geo.errors import InputError, excerpt
from dualsr_geo.io.storage.names import expanded, require_name
from dualsr_geo.io.storage.object_store import read_object
from dualsr_geo.io.storage.special_files import require_no_special_file
from dualsr_geo.io.storage.urls import canonical, is_url, shown
from dualsr_geo.models.definition import Model
from dualsr_geo.raster.packing import Decoding, Packing
from dualsr_geo.serialization import from_json, to_json, write_atomically
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.version import __version__

# Version of the layout of the JSON.
LAYOUT = 1
# Largest file that is read: the survey of 400 bands takes less than 10 MB.
MAX_BYTES = 128 << 20
# Largest margin of the guide that is read: displacements are searched within a few pixels of the scene.
MAX_MARGIN_PX = 4096
AGAIN = "Make it again: dualsr_geo.survey(scene, guide=guide)."


@dataclass(frozen=True)
class ImageRecord:
    """What a stored survey keeps of a scene, or of its guide on the target grid.

    Attributes
    ----------
    name : str
        For messages; nothing is opened by it.
    bands : int
    fingerprint : mapping
        As `Source.fingerprint` returns it.
    content : str
        Hash of the values in a few windows.
    decoding : Decoding or None
        By which stored values become physical; None where they are physical, or the parts have no common one.
    """

    name: str
    bands: int
    fingerprint: Mapping[str, Any]
    content: str
    decoding: Decoding | None = None


@dataclass(frozen=True)
class GridRecord:
    """The grid of a scene.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    transform : tuple of float
        The six coefficients of its affine transform, as of rasterio.
    crs : str or None
        ``"EPSG:32633"`` or WKT.
    """

    shape: tuple[int, int]
    transform: tuple[float, float, float, float, float, float]
    crs: str | None = None


@dataclass(frozen=True, eq=False)
class StoredSurvey:
    """The survey of a scene with everything that its product depends on; small, picklable, and JSON.

    Attributes
    ----------
    scene : ImageRecord
    grid : GridRecord
        Of the scene.
    guide : ImageRecord or None
    scale : int
        Ratio of pixel sizes of scene and product.
    options : mapping
        The options of the run, as JSON.
    identity : mapping
        Model, fine stage, weights and others that the values depend on.
    packing : Packing
        How the product stores its values.
    estimates : mapping
        The survey, as `Survey.to_json` returns it.
    overlap : int
        Pixels around a part of the product that its values depend on; a multiple of the scale.
    files : mapping of str to str
        Names of the files that options named, which are given again where the survey is used.
    fine_stage : str or None
        The fitted fine stage, base64.
    software : str
        Version of the program that made it.
    layout : int
        Version of the layout of the JSON.
    """

    scene: ImageRecord
    grid: GridRecord
    guide: ImageRecord | None
    scale: int
    options: Mapping[str, Any]
    identity: Mapping[str, Any]
    packing: Packing
    estimates: Mapping[str, Any]
    overlap: int
    files: Mapping[str, str] = field(default_factory=dict)
    fine_stage: str | None = None
    software: str = __version__
    layout: int = LAYOUT

    def __repr__(self) -> str:
        guide = "no guide" if self.guide is None else f"guide {self.guide.name}"
        return f"<StoredSurvey of {self.scene.name}, {guide}, scale {self.scale}: {self.estimated()!r}>"

    def estimated(self, model: Model | None = None) -> Survey:
        """Return the estimates; without the model of the run, without the state of that model.

        Raises
        ------
        ValueError
            If the estimates are damaged.
        """
        return Survey.from_json(self.estimates, model)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes for the user."""
        return tuple(self.estimates["notes"])

    def to_json(self) -> dict[str, Any]:
        """Return a mapping that JSON can hold; `from_json` is its inverse."""
        content = {f.name: to_json(getattr(self, f.name)) for f in fields(self)}
        return {**content, "sha256": _checksum(content)}

    @classmethod
    def from_json(cls, value: object, place: str = "The survey") -> StoredSurvey:
        """Return the survey of a mapping from `to_json`.

        Parameters
        ----------
        value : object
            As `json.loads` returns it.
        place : str
            Where it was read, for messages.

        Raises
        ------
        InputError
            If it is damaged, or another version of dualsr-geo made it.
        """
        try:
            return cls._read(value, place)
        except (AttributeError, IndexError, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{place} is no survey, or it is damaged: {excerpt(str(error))}. {AGAIN}") from error

    @classmethod
    def _read(cls, value: object, place: str) -> StoredSurvey:
        if not isinstance(value, Mapping):
            raise TypeError(f"it is {excerpt(value)}, no object")
        software, layout = value.get("software"), value.get("layout")
        if isinstance(software, str) and isinstance(layout, int) and (software, layout) != (__version__, LAYOUT):
            raise InputError(
                f"{place} was made by dualsr-geo {excerpt(software)} (layout {layout}), this is {__version__} (layout "
                f"{LAYOUT}), whose products may differ. {AGAIN}"
            )
        content = {name: item for name, item in value.items() if name != "sha256"}
        require_fields(cls, content, "it")
        if value.get("sha256") != _checksum(content):
            raise ValueError("its checksum does not match its content")
        read: StoredSurvey = cls(
            **{
                **content,
                "scene": from_json(ImageRecord, content["scene"]),
                "grid": from_json(GridRecord, content["grid"]),
                "guide": None if content["guide"] is None else from_json(ImageRecord, content["guide"]),
                "packing": from_json(Packing, content["packing"]),
            }
        )
        _require_estimates(read)
        return read


def read_survey(where: str | os.PathLike[str]) -> StoredSurvey:
    """Read a survey that `write_survey` wrote, from a file or a store.

    Raises
    ------
    InputError
        If it is missing, larger than `MAX_BYTES`, damaged, or made by another version of dualsr-geo.
    """
    path = canonical(require_name(where, "survey"))
    place = f"The survey {shown(path)}"
    try:
        return StoredSurvey.from_json(json.loads(_content(path, place)), place)
    except (RecursionError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{place} is no JSON, or it is incomplete: {excerpt(str(error))}. {AGAIN}") from error


def _content(path: str, place: str) -> bytes:
    if is_url(path):
        return read_object(path, InputError)
    require_no_special_file(path)
    file = expanded(path)
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise InputError(f"{place} has {size} bytes, more than {MAX_BYTES}, so it is none. {AGAIN}")
        return file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{place} cannot be read: {error.strerror or error}. Give the path of a survey.json."
        ) from error


def write_survey(survey: StoredSurvey, path: Path) -> None:
    """Write a survey as JSON; a reader sees the old file or the new one.

    Raises
    ------
    OSError
        If the disk refuses.
    """
    write_atomically(path, json.dumps(survey.to_json(), allow_nan=False))


def with_fine_stage(survey: StoredSurvey, content: bytes | None) -> StoredSurvey:
    """Return a survey with the bytes of a fitted fine stage."""
    return survey if content is None else replace(survey, fine_stage=base64.b64encode(content).decode())


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _require_estimates(survey: StoredSurvey) -> None:
    """Check the estimates as far as they can be checked without the scene.

    Raises
    ------
    ValueError
        If they do not fit each other, or the scene that they are of.
    """
    estimates, bands = survey.estimates, survey.scene.bands
    _require_form_of_estimates(estimates)
    read = survey.estimated()
    used = read.used
    if not used or list(used) != sorted(set(used)) or not 0 <= used[0] <= used[-1] < bands:
        raise ValueError(f"estimates.statistics.used names other bands than the {bands} of the scene")
    for image in (survey.scene, survey.guide):
        if image is not None and image.decoding is not None and not _is_of(image.decoding, image.bands):
            raise ValueError(f"the decoding of {image.name} is of another number of bands than its {image.bands}")
    if len(survey.packing.scales) != bands or len(survey.packing.offsets) != bands:
        raise ValueError(f"packing is of another number of bands than the {bands} of the scene")
    guide_bands = 0 if survey.guide is None else survey.guide.bands
    if not all(0 <= band < guide_bands for band in read.guide_bands):
        raise ValueError(f"estimates.guide_bands names other bands than the {guide_bands} of the guide")
    if read.psf.ratio != survey.scale or survey.scale < 2:
        raise ValueError(f"the blur is for scale {read.psf.ratio}, the product for {survey.scale}")
    margin = read.guide_margin_px + (0 if read.displacement is None else read.displacement.margin_px)
    if margin > MAX_MARGIN_PX:
        raise ValueError(f"the guide is moved by {margin} pixels, more than {MAX_MARGIN_PX}")


def _require_form_of_estimates(estimates: Mapping[str, Any]) -> None:
    require_form(tuple[str, ...], estimates.get("notes"), "estimates.notes")
    hints = get_type_hints(Survey)
    for name, value in estimates.items():
        if name not in hints:
            raise ValueError(f"estimates has an unknown entry, {excerpt(name)}")
        # Its type is that of the model, which is not loaded yet.
        if name != "model_state":
            require_form(hints[name], value, f"estimates.{name}")


def _is_of(decoding: Decoding, bands: int) -> bool:
    return {len(decoding.scales), len(decoding.offsets), len(decoding.nodata)} == {bands}
