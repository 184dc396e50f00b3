"""The survey: every estimate for a whole scene as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.change_detection import ChangeModel
from dualsr_geo.fusion.error_model import ErrorModel
from dualsr_geo.fusion.guide_completion import GuideCompletion
from dualsr_geo.fusion.guide_noise.filter import REACH_PX, GuideFilter
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.wald.scene_sample import GuideStatistics, SceneStatistics
from dualsr_geo.models.definition import Model
from dualsr_geo.option_names import rendered
from dualsr_geo.raster.html_tables import two_columns
from dualsr_geo.raster.normalization import Normalization
from dualsr_geo.registration.displacement_field import DisplacementField
from dualsr_geo.registration.guide_placement import Placement
from dualsr_geo.registration.shift import guide_margin, move_guide
from dualsr_geo.registration.shift_description import describe_move
from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.surveying.detail import DetailAssessment
from dualsr_geo.surveying.guide_denoising import GuideDenoising, denoised

# The parts of a survey that are read from JSON, and their types.
PARTS: dict[str, type] = {
    "statistics": SceneStatistics,
    "placement": Placement,
    "guide": GuideStatistics,
    "denoising": GuideDenoising,
    "displacement": DisplacementField,
    "completion": GuideCompletion,
    "changes": ChangeModel,
    "uncertainty": ErrorModel,
    "detail": DetailAssessment,
    "normalization": Normalization,
}


@dataclass(frozen=True, eq=False)
class Survey:
    """Estimates for the whole scene; each part is made by one function and never changed.

    Attributes
    ----------
    statistics : SceneStatistics
        Of the scene without its guide.
    placement : Placement
        Shift of the guide, and blur of the scene.
    guide : GuideStatistics or None
        None without a guide.
    denoising : GuideDenoising or None
        Noise of the guide, and the filter against it; None without a guide, and where it is not estimated.
    displacement : DisplacementField or None
        Local displacement of the guide, which is undone before the shift; None where it is not estimated.
    completion : GuideCompletion or None
        Of several guides, how one is predicted where it is missing; None for one guide.
    guide_bands : tuple of int
        The bands of the guide that are used, where estimates of a first step are left out; empty where all are.
    changes : ChangeModel or None
        Model of the guide from the scene, to recognise where the guide shows something else.
    model_state : object or None
        State of the run's model, of its `state_type`.
    uncertainty : ErrorModel or None
        Standard deviations of the product's errors; None unless uncertainty is requested.
    detail : DetailAssessment or None
        Assessment of the product's detail; None unless requested, and for scenes too small to be degraded.
    normalization : Normalization or None
        Shift and scale by which the scene's values are computed; all values of the survey are in these terms. None
        where 32-bit floats hold them as they are.
    notes : tuple of str
        Notes for the user.
    """

    statistics: SceneStatistics
    placement: Placement
    guide: GuideStatistics | None = None
    denoising: GuideDenoising | None = None
    displacement: DisplacementField | None = None
    changes: ChangeModel | None = None
    model_state: Any = None
    uncertainty: ErrorModel | None = None
    detail: DetailAssessment | None = None
    normalization: Normalization | None = None
    completion: GuideCompletion | None = None
    guide_bands: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Survey: {'; '.join(f'{name.lower()} {value}' for name, value in self._facts)}>"

    def _repr_html_(self) -> str:
        return two_columns("Survey", self._facts)

    @property
    def _facts(self) -> list[tuple[str, str]]:
        """What a person needs of a survey at a glance: names and values; px are pixels of the product."""
        place, (sigma_y, sigma_x) = self.placement, self.placement.psf.sigma_px
        facts = [("Blur", f"sigma {sigma_y:.2f} x {sigma_x:.2f} px ({place.source})")]
        if self.guide is not None:
            facts.append(("Guide", describe_move(place.shift_px, place.moved_px, place.shift_error_px)))
            relevance = self.guide.relevance
            if relevance is not None and np.isfinite(relevance).any():
                facts.append(("Explained", f"{float(np.nanmean(relevance)):.0%} of the bands' variance"))
        if self.denoising is not None and self.denoising.filter is not None:
            facts.append(("Noise", "the guide is denoised"))
        return facts + [("Warning", rendered(note)) for note in self.notes]

    @property
    def psf(self) -> Psf:
        """Blur of the scene relative to the registered guide."""
        return self.placement.psf

    @property
    def space(self) -> Subspace:
        """Spectral components of the scene."""
        return self.statistics.space

    @property
    def used(self) -> tuple[int, ...]:
        """Bands that have data."""
        return self.statistics.used

    @property
    def guide_filter(self) -> GuideFilter | None:
        """Filter of the guide; None for a guide that is used as it is."""
        return None if self.denoising is None else self.denoising.filter

    @property
    def guide_margin_px(self) -> int:
        """How many hr pixels beyond a window `registered` reads."""
        return guide_margin(self.placement.moved_px) + (0 if self.guide_filter is None else REACH_PX)

    def registered(
        self, guide: NDArray[np.float32], margin: int | None = None, device: str | torch.device = "cpu"
    ) -> NDArray[np.float32]:
        """Denoise a guide window, undo its shift, and cut its margin.

        Parameters
        ----------
        guide : array, shape (guide band, Y + 2 * margin, X + 2 * margin)
            NaN where it has no value.
        margin : int, optional
            hr pixels; by default `guide_margin_px`.
        device : str or torch.device
            Where the filter computes.

        Returns
        -------
        array, shape (guide band, Y, X)
        """
        clean = guide if self.guide_filter is None else denoised(self.guide_filter, guide, device)
        return move_guide(clean, self.placement.moved_px, self.guide_margin_px if margin is None else margin)

    def to_json(self) -> dict[str, Any]:
        """Return a mapping that JSON can hold; `from_json` is its inverse."""
        return {f.name: to_json(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], model: Model | None = None) -> Survey:
        """Return the survey of a mapping from `to_json`.

        Parameters
        ----------
        value : mapping
        model : Model, optional
            The run's model, which defines the type of its state; without it the state is left out.
        """
        parts: dict[str, Any] = {
            name: None if value.get(name) is None else from_json(kind, value[name]) for name, kind in PARTS.items()
        }
        state, kind = value["model_state"], None if model is None else model.state_type
        parts["model_state"] = None if state is None or kind is None else from_json(kind, state)
        bands = tuple(int(band) for band in value.get("guide_bands", ()))
        return cls(**parts, notes=tuple(value["notes"]), guide_bands=bands)
