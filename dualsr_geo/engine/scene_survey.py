"""The survey of a scene: local displacement of the guide, sample, estimates, in this order."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dualsr_geo.engine.inputs import InputReader, read_registered_guide
from dualsr_geo.registration import local_displacement
from dualsr_geo.registration.displacement_field import DisplacementField
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.registration.options import RegistrationOptions
from dualsr_geo.survey.estimation import estimate_survey
from dualsr_geo.survey.sampling import Sample, SurveyOptions, sample_windows
from dualsr_geo.survey.survey import Survey
from dualsr_geo.threads import one_thread


@dataclass(frozen=True)
class SceneSample:
    """What a survey is estimated from.

    Attributes
    ----------
    windows : tuple of Sample
        The scene and its guide in `sample_windows`, the guide's local displacement undone.
    field : DisplacementField or None
        The displacement that was undone.
    """

    windows: tuple[Sample, ...]
    field: DisplacementField | None


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
    return survey_sample(sample_scene(reader, shape, options), options)


def sample_scene(reader: InputReader, shape: tuple[int, int], options: RegistrationOptions) -> SceneSample:
    """Read a scene's sample, after the local displacement of its guide is estimated; see `survey_scene`."""
    with one_thread():
        field = _estimate_displacement(reader, shape, options)
        margin = sample_margin(options.ratio)
        samples = tuple(
            Sample(
                reader.read_scene(window),
                read_registered_guide(reader, window.scaled(options.ratio).grown(margin), field),
            )
            for window in sample_windows(shape)
        )
        return SceneSample(samples, field)


def survey_sample(sample: SceneSample, options: SurveyOptions) -> Survey:
    """Survey a scene from its sample; see `survey_scene`."""
    with one_thread():
        return replace(estimate_survey(sample.windows, options), displacement=sample.field)


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
