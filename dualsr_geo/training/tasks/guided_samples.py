"""Samples of the guided network: a window of a scene with its start, the network's input, and the loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.fusion import coarse_stage
from dualsr_geo.fusion.blocks import components
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.models.guided_correction import NetworkInput, detail, network_input, without_observed_part
from dualsr_geo.models.guided_inputs import GuidedInputs, GuidedWindow
from dualsr_geo.models.methods.regression import RegressionState
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.surveying.estimation import estimate_survey
from dualsr_geo.surveying.sampling import Sample, SurveyOptions
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.training.augmentation import Floats, Rng

# Most hr pixels of a sample in a step, bands times pixels.
MAX_SAMPLE_PX = 32768
# Bounds of the weights of a sample's bands, which grow with the root of their errors.
WEIGHT_BOUNDS = (0.2, 3.0)
# Least error of a start that the loss is divided by, in standard deviations of the band.
MIN_ERROR_STD = 0.004
# The loss is quadratic up to so many times the start's error. With 1 the network learns the median of the
# possible corrections, and corrects too little: by half on wide bands.
HUBER_BETA = 3.0


@dataclass(frozen=True)
class GuidedSample:
    """A sample of the guided network.

    Attributes
    ----------
    window : GuidedWindow
    inputs : GuidedInputs
    anchors : tuple of int
        The anchors, bands or components, that the network is trained on.
    network_input : NetworkInput
        Of the anchors.
    start, reference : Tensor, shape (anchor, Y, X)
        Less the scene's mean.
    error : Tensor, shape (anchor,)
        Root mean square error of the start.
    """

    window: GuidedWindow
    inputs: GuidedInputs
    anchors: tuple[int, ...]
    network_input: NetworkInput
    start: Tensor
    reference: Tensor
    error: Tensor


def sample_loss(
    network: Callable[..., tuple[Tensor, Tensor]], sample: GuidedSample, mask: Tensor | None = None
) -> Tensor:
    """Return the error of a sample's corrected start in units of the start's own error, a scalar.

    Parameters
    ----------
    network : callable
        A `GuidedNetwork`, or a function with its parameters.
    sample : GuidedSample
    mask : Tensor of bool, shape (Y, X), optional
        Pixels that count; all by default.
    """
    given = sample.network_input
    mixture = network(given.planes, given.constants, sample.window.psf.ratio, relations=given.relations)
    # In float32: in bfloat16 a result is not consistent with the scene.
    with torch.autocast(given.planes.device.type, enabled=False):
        added = detail(given, *(v.float() for v in mixture))
        corrected = sample.start + without_observed_part(sample.window, sample.inputs, added, sample.anchors)
        error = (corrected - sample.reference) / sample.error[:, None, None]
        relative = sample.error / torch.from_numpy(sample.inputs.std)[list(sample.anchors)]
        weight = (relative / relative.mean()).sqrt().clamp(*WEIGHT_BOUNDS)
        losses = functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=HUBER_BETA)
        mean = losses.mean((1, 2)) if mask is None else (losses * mask).sum((1, 2)) / mask.sum()
        return (weight * mean).mean()


def draw_anchors(rng: Rng, sample: GuidedSample) -> GuidedSample:
    """Draw a few anchors of a sample, so that steps are of similar size."""
    count = int(np.clip(MAX_SAMPLE_PX // sample.start[0].numel(), 1, len(sample.anchors)))
    rows = torch.from_numpy(np.sort(rng.choice(len(sample.anchors), count, replace=False)))
    return replace(
        sample,
        anchors=tuple(sample.anchors[int(i)] for i in rows),
        network_input=sample.network_input.rows(rows),
        start=sample.start[rows],
        reference=sample.reference[rows],
        error=sample.error[rows],
    )


def survey_arrays(lr: Floats, guide: Floats, psf: Psf) -> Survey:
    """Survey a scene (band, y, x) and its guide (guide band, Y, X), two arrays, for a known PSF."""
    margin = sample_margin(psf.ratio)
    padded = np.pad(guide, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)
    return estimate_survey([Sample(lr, padded)], SurveyOptions(psf.ratio, psf=psf))


def scene_window(survey: Survey, lr: Floats, guide: Floats) -> tuple[GuidedWindow, GuidedInputs]:
    """Return a whole scene as one window with its start, and the inputs of the network."""
    state = survey.model_state
    assert isinstance(state, RegressionState)
    cube, space = torch.from_numpy(np.ascontiguousarray(lr[list(survey.used)])), survey.space
    shape = cube.shape[1], cube.shape[2]
    op = operator(survey.psf, (shape[0], shape[1]))
    guided = coarse_stage.GuidedStart(
        PreparedGuide(torch.from_numpy(guide), None, None),
        state.fit.fit,
        torch.from_numpy(state.fit.mixture),
    )
    ridges = state.ridges, survey.statistics.ridges
    closed, unguided = (consistency(survey.psf, shape, v.tolist(), op) for v in ridges)
    z = components(space, cube)
    hr = coarse_stage.sharpen(z, None, guided, closed, unguided)
    spectra, guide_lr = cube.flatten(1).numpy(), op.degrade(guided.guide.values).flatten(1).numpy()
    inputs = GuidedInputs.of(space, state.fit, spectra, guide_lr, np.ones(spectra.shape[1], np.float32))
    return GuidedWindow(space, cube, z, hr, guided, survey.psf, closed), inputs


def guided_sample(
    window: GuidedWindow, inputs: GuidedInputs, reference: Tensor, anchors: tuple[int, ...]
) -> GuidedSample:
    """Return the sample of a window and its reference (band, Y, X)."""
    rows = list(anchors)
    centred = window.centred(reference, rows, spectral=inputs.spectral)
    start = window.start(rows, spectral=inputs.spectral)
    error = (start - centred).square().mean((1, 2)).sqrt()
    min_error = MIN_ERROR_STD * torch.from_numpy(inputs.std)[rows]
    given = network_input(window, inputs, rows)
    return GuidedSample(window, inputs, anchors, given, start, centred, torch.maximum(error, min_error))
