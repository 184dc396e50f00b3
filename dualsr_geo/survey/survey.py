"""The survey: every estimate for a whole scene as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion.change_detection import ChangeModel
from dualsr_geo.fusion.injection import Injection
from dualsr_geo.fusion.scene_regression import SceneRegression
from dualsr_geo.fusion.subspace import Subspace
from dualsr_geo.fusion.uncertainty import ErrorModel
from dualsr_geo.models.band_stream import Units
from dualsr_geo.models.correction import CorrectionState
from dualsr_geo.registration.displacement_field import DisplacementField
from dualsr_geo.survey.detail import DetailAssessment


@dataclass(frozen=True)
class Survey:
    """What is known of the whole scene.

    Attributes
    ----------
    psf : Psf
        Blur of the scene against the guide as it is used.
    psf_source : str
        ``"given"``, ``"estimated gaussian"``, ``"estimated taps"``, ``"sensor"``, ``"default"``.
    used : tuple of int
        Bands that have data; the others stay nodata.
    low : float
        The scene's own minimum, physical units; nothing is made below it.
    noise : array, shape (band,)
        Of the used bands, physical units; 0 where it was not told from signal.
    space : Subspace
    lams, lams_alone : array, shape (component,)
        Ridges of the fine stage, where the guide is and where it is not.
    fit, mixture : Fit and array, shape (component, candidate), or None
        What the regressions need; None without a guide.
    guide_mean : array, shape (guide band,)
    shift_px : (float, float)
        How far the guide lies below and right of the scene, hr pixels.
    moved_px : (float, float)
        How far it is moved back.
    shift_error_px, sigma_error_px : (float, float) or None
        Standard errors of shift and width of the blur, hr pixels; None where they were not estimated.
    noise_error : array, shape (band,), or None
        Standard error of `noise`.
    relevance : array, shape (band,)
        How well the guide explains a band, 0..1.
    srf : array, shape (guide band, band)
        Non-negative response of the guide to the used bands.
    injection : Injection or None
        What the classic baselines need; None for other models.
    units : Units or None
        What networks need; None for other models.
    angle : float or None
        Weight of DualSR's fine stage; None without it.
    correction : CorrectionState or None
        What our own networks need; None for other models.
    doubt : ErrorModel or None
        How large the product's errors are; None where nobody asked.
    detail : DetailAssessment or None
        What the product's detail is worth; None where nobody asked, and of scenes too small to say.
    field : DisplacementField or None
        How the guide is bent back, place by place, before all else; None where it is not.
    changes : ChangeModel or None
        How the guide should look, to tell where it shows something else; None where that is not asked or not known.
    notes : tuple of str
        What the user should know.
    """

    psf: Psf
    psf_source: str
    used: tuple[int, ...]
    low: float
    noise: NDArray[np.float32]
    space: Subspace
    lams: NDArray[np.float32]
    lams_alone: NDArray[np.float32]
    fit: SceneRegression | None = None
    mixture: NDArray[np.float32] | None = None
    guide_mean: NDArray[np.float32] | None = None
    shift_px: tuple[float, float] = (0.0, 0.0)
    moved_px: tuple[float, float] = (0.0, 0.0)
    shift_error_px: tuple[float, float] | None = None
    sigma_error_px: tuple[float, float] | None = None
    noise_error: NDArray[np.float32] | None = None
    relevance: NDArray[np.float32] | None = None
    srf: NDArray[np.float32] | None = None
    injection: Injection | None = None
    units: Units | None = None
    angle: float | None = None
    correction: CorrectionState | None = None
    doubt: ErrorModel | None = None
    detail: DetailAssessment | None = None
    field: DisplacementField | None = None
    changes: ChangeModel | None = None
    notes: tuple[str, ...] = ()
