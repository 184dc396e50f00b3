"""Attributes of a lazy product: how it is made, and what is measured while it is computed.

Shift, consistency and warnings are known only when tasks have run. Their attributes are lists that the tasks of this
process fill, so that a product which is computed and then written carries them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.engine.records.run_summary import TileRecord
from dualsr_geo.registration.shift_description import describe_move
from dualsr_geo.report.summary import describe_consistency
from dualsr_geo.serialization import plain_values
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.version import __version__

VERSION, MODEL, PARAMETERS = "dualsr_version", "dualsr_model", "dualsr_parameters"
SHIFT, CONSISTENCY, WARNINGS = "dualsr_shift", "dualsr_consistency", "dualsr_warnings"
MEASURED = (SHIFT, CONSISTENCY, WARNINGS)
PENDING = "measured when the product is computed; compute it before it is written"
NO_WARNING = "none"
# Parts of the identity of a run that say what was read; tokens of arrays mean nothing to a reader.
NO_PARAMETERS = ("version", "scene", "guide")


class Sentences(list[str]):
    """The sentences of an attribute, of one scene or of each date of a stack; a plain list for what stores it.

    Attributes
    ----------
    parts : dict
        Label of a date, empty for a scene without dates, to its sentences; None before they are measured.
    records : list of ProductRecord
        That fill it; kept as long as the attribute.
    """

    def __init__(self, parts: Mapping[str, Sequence[str] | None] | None = None) -> None:
        super().__init__([PENDING])
        self.parts: dict[str, Sequence[str] | None] = dict(parts or {})
        self.records: list[ProductRecord] = []

    def put(self, label: str, sentences: Sequence[str]) -> None:
        """Replace the sentences of a date."""
        self.parts[label] = sentences
        self[:] = [
            f"{name}: {sentence}" if name else sentence
            for name, each in self.parts.items()
            for sentence in ([PENDING] if each is None else each)
        ]

    def __str__(self) -> str:
        return "; ".join(self)

    def __deepcopy__(self, _: dict[int, Any]) -> Sentences:
        """Return the sentences as they are now."""
        copied = Sentences()
        copied[:] = self
        return copied

    def __reduce__(self) -> tuple[type[list[str]], tuple[list[str]]]:
        return list, (list(self),)


class ProductRecord:
    """What the tasks of one lazy product measure in this process.

    Parameters
    ----------
    bands, tiles : int
        Of the product.
    guided : bool
        Whether it has a guide.
    """

    def __init__(self, bands: int, tiles: int, *, guided: bool) -> None:
        self.tiles, self.guided = tiles, guided
        self.squared_error, self.pixels = np.zeros(bands), np.zeros(bands)
        self.angle, self.angles, self.unit = 0.0, 0, 1.0
        self.done: set[int] = set()
        self.measured: dict[str, list[str]] = {}
        self.targets: list[tuple[str, Mapping[str, Sentences]]] = []
        self.lock = threading.Lock()

    def fill(self, label: str, attributes: Mapping[str, Sentences]) -> None:
        """Fill attributes, with what is measured and with what will be."""
        with self.lock:
            self.targets.append((label, attributes))
            for sentences in attributes.values():
                sentences.parts.setdefault(label, None)
                sentences.records.append(self)
            for name, measured in self.measured.items():
                self._put(label, attributes, name, measured)

    def add_survey(self, survey: Survey) -> None:
        """Add what the survey of the scene measures."""
        with self.lock:
            self.unit = 1.0 if survey.normalization is None else survey.normalization.unit
            if self.guided:
                place = survey.placement
                move = describe_move(place.shift_px, place.moved_px, place.shift_error_px)
                self._measure(SHIFT, [f"The guide {move}; px are pixels of the product."])
            self._measure(WARNINGS, list(survey.notes) or [NO_WARNING])

    def add_tile(self, index: int, tile: TileRecord) -> None:
        """Add the statistics of a tile; those of all make the consistency."""
        with self.lock:
            if index in self.done:
                return
            self.done.add(index)
            self.squared_error += tile.squared_error
            self.pixels += tile.pixels
            self.angle += tile.angle_sum_deg
            self.angles += tile.angle_count
            if len(self.done) == self.tiles:
                self._measure(CONSISTENCY, describe_consistency(self._consistency()))

    def _consistency(self) -> dict[str, float | None]:
        pixels = float(self.pixels.sum())
        angles = self.angles if len(self.pixels) > 1 else 0
        return {
            "rmse": self.unit * float(np.sqrt(self.squared_error.sum() / pixels)) if pixels else None,
            "sam_deg": self.angle / angles if angles else None,
        }

    def _measure(self, name: str, sentences: list[str]) -> None:
        self.measured[name] = sentences
        for label, attributes in self.targets:
            self._put(label, attributes, name, sentences)

    @staticmethod
    def _put(label: str, attributes: Mapping[str, Sentences], name: str, sentences: Sequence[str]) -> None:
        if name in attributes:
            attributes[name].put(label, sentences)


# The records of the products of this process, by the token of their graph.
_RECORDS: WeakValueDictionary[str, ProductRecord] = WeakValueDictionary()


def record_of(token: str) -> ProductRecord | None:
    """Return the record of a product of this process; None in another process, as of a cluster's worker."""
    return _RECORDS.get(token)


def product_attributes(plan: RunPlan, token: str) -> dict[str, Any]:
    """Return the attributes of a lazy product.

    Parameters
    ----------
    plan : RunPlan
    token : str
        Of its graph.

    Returns
    -------
    dict
        Text and lists of text: version, model, parameters (JSON), and, measured by the tasks, shift, consistency and
        warnings.
    """
    parameters = {k: v for k, v in plan.identity.items() if k not in NO_PARAMETERS}
    record = _RECORDS.setdefault(
        token, ProductRecord(plan.scene.count, len(plan.tiling), guided=plan.guide is not None)
    )
    measured = {name: Sentences() for name in MEASURED if name != SHIFT or record.guided}
    record.fill("", measured)
    return {
        VERSION: f"dualsr-geo {__version__}",
        MODEL: f"{plan.model.name}, fine stage {plan.fine}",
        PARAMETERS: json.dumps(plain_values(parameters), ensure_ascii=False),
        **measured,
    }


def stacked_attributes(products: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the attributes of a stack of products.

    Parameters
    ----------
    products : iterable of (str, mapping)
        Label and attributes of each.
    """
    labelled = list(products)
    first = labelled[0][1]
    stacked = {name: Sentences() for name in MEASURED if isinstance(first.get(name), Sentences)}
    for label, attributes in labelled:
        for name, sentences in stacked.items():
            for record in attributes[name].records:
                record.fill(label, {name: sentences})
    return {**{name: first[name] for name in (VERSION, MODEL, PARAMETERS) if name in first}, **stacked}
