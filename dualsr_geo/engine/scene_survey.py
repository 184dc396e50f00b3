"""The survey of a scene: local displacement of the guide, sample, estimates, in this order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dualsr_geo.engine.inputs import InputReader, read_registered_guide
from dualsr_geo.errors import InputError
from dualsr_geo.fusion.guide_completion import GuideCompletion, fit_completion, placing_part
from dualsr_geo.raster.fill import find_fill
from dualsr_geo.raster.normalization import WIDE_TYPES, Normalization, choose_normalization
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration import local_displacement
from dualsr_geo.registration.displacement_field import DisplacementField
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.options import RegistrationOptions
from dualsr_geo.surveying.estimation import estimate_survey
from dualsr_geo.surveying.sampling import Sample, SurveyOptions, sample_windows
from dualsr_geo.surveying.stored_values import note_stored_values
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.threads import one_thread

# Largest magnitude of a guide: of larger values 32-bit floats do not hold the squares.
MAX_GUIDE_MAGNITUDE = 1e18


@dataclass(frozen=True)
class SceneSample:
    """What a survey is estimated from.

    Attributes
    ----------
    windows : tuple of Sample
        The scene and its guide in `sample_windows`, the guide's local displacement undone.
    field : DisplacementField or None
        The displacement that was undone.
    normalization : Normalization or None
        By which the scene in the windows is shifted and scaled.
    completion : GuideCompletion or None
        By which what one of several guides lacks is predicted in the windows.
    """

    windows: tuple[Sample, ...]
    field: DisplacementField | None
    normalization: Normalization | None = None
    completion: GuideCompletion | None = None


def survey_scene(reader: InputReader, shape: tuple[int, int], options: SurveyOptions) -> Survey:
    """Survey a scene.

    Parameters
    ----------
    reader : InputReader
    shape : (int, int)
        Rows and columns of the scene, lr pixels.
    options : SurveyOptions

    Raises
    ------
    InputError
        If the sample holds no valid pixel.
    """
    sample = sample_scene(reader, shape, options)
    survey = survey_sample(sample, options)
    measured = _measured_bands(options)
    if not measured or survey.detail is None:
        return survey
    other = survey_sample(_with_bands(sample, measured), options)
    better = _contradicted(other) < _contradicted(survey)
    return replace(other, guide_bands=measured) if better else survey


def _measured_bands(options: SurveyOptions) -> tuple[int, ...]:
    """Return the bands of the guides that are no estimates; none if all or none are."""
    ends = np.cumsum(options.guide_parts).tolist()
    guides = zip(ends, options.guide_parts, strict=True)
    estimated = options.estimated_guides
    bands = tuple(b for i, (end, n) in enumerate(guides) if i not in estimated for b in range(end - n, end))
    return bands if len(bands) < sum(options.guide_parts) else ()


def _with_bands(sample: SceneSample, bands: Sequence[int]) -> SceneSample:
    """Return a sample with some bands of the guide."""
    windows = (replace(w, guide=None if w.guide is None else w.guide[list(bands)]) for w in sample.windows)
    return replace(sample, windows=tuple(windows))


def _contradicted(survey: Survey) -> float:
    """Return the share of the coarse start's detail that the scene contradicts; infinite where it is not known.

    It is measured on the scene itself. The Wald pair does not show the errors of a first step, which are finer than it.
    """
    detail = survey.detail
    if detail is None or detail.contradicted is None or not np.isfinite(detail.contradicted).any():
        return float("inf")
    return float(np.nanmean(detail.contradicted))


def sample_scene(reader: InputReader, shape: tuple[int, int], options: RegistrationOptions) -> SceneSample:
    """Read a scene's sample, after the local displacement of its guide is estimated; see `survey_scene`."""
    with one_thread():
        windows = sample_windows(shape)
        cubes, normalization = _read_sample(reader, windows, options)
        reader = reader if normalization is None else reader.normalized(normalization)
        completion, placing = _several_guides(reader, windows, options)
        # Placed by some of the bands, as they are measured; by all of them where there is one guide.
        measured = reader if placing is None else _SomeBands(reader, placing)
        field = _estimate_displacement(measured, shape, options)
        ratio, margin = options.ratio, sample_margin(options.ratio)
        target = shape[0] * ratio, shape[1] * ratio
        around = [window.scaled(ratio).grown(margin) for window in windows]
        guides = [read_registered_guide(reader, window, field, completion, target) for window in around]
        _require_magnitude([guide for guide in guides if guide is not None])
        if placing is None or completion is None:
            return SceneSample(tuple(map(Sample, cubes, guides)), field, normalization, completion)
        placed = [read_registered_guide(measured, window, field) for window in around]
        whole = [completion.measured(reader.read_guide(w.scaled(ratio)), ratio) for w in windows]
        return SceneSample(tuple(map(Sample, cubes, guides, placed, whole)), field, normalization, completion)


def _several_guides(
    reader: InputReader, windows: Sequence[Window], options: RegistrationOptions
) -> tuple[GuideCompletion | None, tuple[int, ...] | None]:
    """Return how what one of several guides lacks is predicted, and by which bands they are placed; None for one guide."""
    if len(options.guide_parts) < 2:
        return None, None
    reads = (reader.read_guide(window.scaled(options.ratio)) for window in windows)
    guides = [guide for guide in reads if guide is not None]
    if not guides:
        return None, None
    completion = fit_completion(guides, options.guide_parts, options.ratio)
    placing = placing_part(guides, options.guide_parts, options.sharp_guides or range(len(options.guide_parts)))
    return completion, None if len(placing) == sum(options.guide_parts) else placing


@dataclass(frozen=True)
class _SomeBands:
    """A reader of some bands of the guide."""

    reader: InputReader
    bands: tuple[int, ...]

    def read_scene(self, window: Window) -> NDArray[np.float32]:
        return self.reader.read_scene(window)

    def normalized(self, normalization: Normalization) -> _SomeBands:
        return replace(self, reader=self.reader.normalized(normalization))

    def read_guide(self, window: Window) -> NDArray[np.float32] | None:
        guide = self.reader.read_guide(window)
        return None if guide is None else guide[list(self.bands)]


def _require_magnitude(guides: Sequence[NDArray[np.float32]]) -> None:
    """Check that 32-bit floats hold the squares of a guide's values.

    Raises
    ------
    InputError
        If they do not.
    """
    largest = max((float(np.fmax.reduce(np.abs(g), None)) for g in guides), default=0.0)
    if largest > MAX_GUIDE_MAGNITUDE:
        raise InputError(
            f"The guide has values of up to {largest:g}, which cannot be computed with. Declare them as nodata where they "
            "mark missing pixels (rio edit-info --nodata), or scale the guide (gdal_translate -scale)."
        )


def _read_sample(
    reader: InputReader, windows: Sequence[Window], options: RegistrationOptions
) -> tuple[list[NDArray[np.float32]], Normalization | None]:
    """Return the scene in the windows, normalized if 32-bit floats do not hold it as it is.

    Only scenes of types that a 32-bit float may not hold are read twice, in 64-bit floats before.
    """
    packing = options.packing if isinstance(options, SurveyOptions) else None
    if not isinstance(options, SurveyOptions) or packing is None:
        return [reader.read_scene(window) for window in windows], None
    stored = "float32" if options.scene is None else options.scene.dtype
    exact = reader.normalized(Normalization.exact(len(packing.scales))) if stored in WIDE_TYPES else reader
    cubes = [exact.read_scene(window) for window in windows]
    normalization = choose_normalization(cubes, stored, packing)
    _require_affine(options, normalization)
    if exact is reader and normalization is None:
        return cubes, None
    own = reader if normalization is None else reader.normalized(normalization)
    return [own.read_scene(window) for window in windows], normalization


def survey_sample(sample: SceneSample, options: SurveyOptions) -> Survey:
    """Survey a scene from its sample; see `survey_scene`."""
    with one_thread():
        survey = estimate_survey(sample.windows, options)
        notes = (*_value_notes(sample, survey.used, options), *survey.notes)
        return replace(
            survey,
            displacement=sample.field,
            completion=sample.completion,
            normalization=sample.normalization,
            notes=notes,
        )


def _value_notes(sample: SceneSample, used: Sequence[int], options: SurveyOptions) -> tuple[str, ...]:
    """Return notes if the scene holds undeclared fill, or values that the product's type does not hold."""
    if options.scene is None or options.packing is None:
        return ()
    scene, product = (p.select(tuple(used)) for p in (options.scene, options.packing))
    normalization = None if sample.normalization is None else sample.normalization.select(used)
    cubes = [window.cube[list(used)] for window in sample.windows]
    fill = find_fill(cubes, scene, normalization)
    fill_notes = () if fill is None else (fill.note,)
    return (*fill_notes, *note_stored_values(cubes, scene, product, normalization))


def _require_affine(options: SurveyOptions, normalization: Normalization | None) -> None:
    """Check that a model gives the same result for shifted values, if the values have to be shifted.

    Raises
    ------
    InputError
        If it does not.
    """
    if normalization is None or not options.model.uses_ratios:
        return
    shifted = next(((band, origin) for band, origin in enumerate(normalization.origins, 1) if origin), None)
    if shifted is not None:
        raise InputError(
            f"Band {shifted[0]} of the scene holds values from {shifted[1]:.10g}, whose steps 32-bit floats hold only as "
            f"differences from that, and `{options.model.name}` takes ratios of the values. Give --model auto or gsa, or "
            "--dtype float32 to round the values."
        )


def _estimate_displacement(
    reader: InputReader, shape: tuple[int, int], options: RegistrationOptions
) -> DisplacementField | None:
    """Estimate the guide's local displacement; None with other co-registrations and without a guide."""
    if options.coregister != "local":
        return None
    windows, margin = local_displacement.windows(shape), local_displacement.margin(options.ratio)
    reads = (reader.read_guide(window.scaled(options.ratio).grown(margin)) for window in windows)
    guides = [guide for guide in reads if guide is not None]
    if not guides:
        return None
    cubes = [reader.read_scene(window) for window in windows]
    return local_displacement.estimate_local_displacement(windows, cubes, guides, shape, options)
