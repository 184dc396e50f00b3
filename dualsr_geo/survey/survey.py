"""The survey: every estimate for a whole scene as one frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.change_detection import ChangeModel
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.uncertainty import ErrorModel
from dualsr_geo.fusion.wald.scene_sample import GuideStatistics, SceneStatistics
from dualsr_geo.models.definition import Model
from dualsr_geo.registration.displacement_field import DisplacementField
from dualsr_geo.registration.guide_placement import Placement
from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.survey.detail import DetailAssessment

_PARTS: dict[str, type] = {
    "statistics": SceneStatistics,
    "placement": Placement,
    "guide": GuideStatistics,
    "displacement": DisplacementField,
    "changes": ChangeModel,
    "uncertainty": ErrorModel,
    "detail": DetailAssessment,
}


@dataclass(frozen=True, eq=False)
class Survey:
    """What is known of the whole scene: parts, each made by one function and never changed.

    Attributes
    ----------
    statistics : SceneStatistics
        Of the scene without its guide.
    placement : Placement
        Where the guide is on the scene, and how the scene is blurred.
    guide : GuideStatistics or None
        None without a guide.
    displacement : DisplacementField or None
        How the guide is moved back place by place, before all else.
    changes : ChangeModel or None
        What the guide should look like, to recognise where it shows something else.
    model_state : object or None
        What the run's model estimated, of its `state_type`.
    uncertainty : ErrorModel or None
        How large the product's errors are; None unless uncertainty is requested.
    detail : DetailAssessment or None
        What the product's detail is worth; None unless it is requested, and for scenes too small to be degraded.
    notes : tuple of str
        What the user should know.
    """

    statistics: SceneStatistics
    placement: Placement
    guide: GuideStatistics | None = None
    displacement: DisplacementField | None = None
    changes: ChangeModel | None = None
    model_state: Any = None
    uncertainty: ErrorModel | None = None
    detail: DetailAssessment | None = None
    notes: tuple[str, ...] = ()

    @property
    def psf(self) -> Psf:
        """Blur of the scene against the guide as it is used."""
        return self.placement.psf

    @property
    def space(self) -> Subspace:
        """Spectral components of the scene."""
        return self.statistics.space

    @property
    def used(self) -> tuple[int, ...]:
        """Bands that have data."""
        return self.statistics.used

    def with_displacement(self, field: DisplacementField | None) -> Survey:
        """Return the survey of a guide that a displacement field has moved."""
        return replace(self, displacement=field)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping; `from_json` is its inverse."""
        return {f.name: to_json(getattr(self, f.name)) for f in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], model: Model | None = None) -> Survey:
        """Read what `to_json` wrote.

        Parameters
        ----------
        value : mapping
        model : Model, optional
            The run's model, which knows the type of its state; without it the state is left out.
        """
        parts: dict[str, Any] = {
            name: None if value[name] is None else from_json(kind, value[name]) for name, kind in _PARTS.items()
        }
        state, kind = value["model_state"], None if model is None else model.state_type
        parts["model_state"] = None if state is None or kind is None else from_json(kind, state)
        return cls(**parts, notes=tuple(value["notes"]))
