"""Samples of the guided network: the network's input for a part of a scene, what its start lacks, and the loss."""

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
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.reconstruction import prepare
from dualsr_geo.models.guided_correction import NetworkInput, NullSpace, detail, network_input, null_space
from dualsr_geo.models.guided_inputs import GuidedInputs, GuidedWindow
from dualsr_geo.models.methods._spectral import spectral_window
from dualsr_geo.models.methods.regression import MODEL, RegressionState
from dualsr_geo.raster.packing import Packing
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.surveying.estimation import estimate_survey
from dualsr_geo.surveying.sampling import Sample, SurveyOptions
from dualsr_geo.surveying.survey import Survey
from dualsr_geo.training.augmentation import Floats, Rng
from dualsr_geo.training.tasks.guided_scenes import DrawnScene

# Side of a part of a scene, lr pixels by ratio: about 96 hr pixels.
SIDE_LR_PX = {2: 48, 3: 32, 4: 24, 5: 20, 6: 16, 8: 12}
# Most parts of a scene, and the share of its area that they cover together.
MAX_PARTS, COVERED_SHARE = 6, 0.7
# Bounds of the weights of a sample's bands, which grow with the root of their errors.
WEIGHT_BOUNDS = (0.2, 3.0)
# Least error of a start that the loss is divided by, in standard deviations of the band.
MIN_ERROR_STD = 0.004
# The loss is quadratic up to so many times the start's error. With 1 the network learns the median of the
# possible corrections, and corrects too little: by half on wide bands.
HUBER_BETA = 3.0
# Share of the steps in which some of the anchors are left out, so that the network learns to do with few.
FEWER_ANCHORS_SHARE = 0.4


@dataclass(frozen=True, eq=False)
class GuidedSample:
    """A sample of the guided network.

    Attributes
    ----------
    network_input : NetworkInput
    null_space : NullSpace
    ratio : int
    anchors : tuple of int
        Bands or components.
    lacking : Tensor, shape (anchor, Y, X)
        The reference less the start.
    error : Tensor, shape (anchor,)
        Root mean square error of the start of the whole scene.
    std : Tensor, shape (anchor,)
        Standard deviation of the anchors.
    """

    network_input: NetworkInput
    null_space: NullSpace
    ratio: int
    anchors: tuple[int, ...]
    lacking: Tensor
    error: Tensor
    std: Tensor

    def rows(self, rows: Tensor) -> GuidedSample:
        """Return the sample of some of its anchors."""
        return replace(
            self,
            network_input=self.network_input.rows(rows),
            anchors=tuple(self.anchors[int(i)] for i in rows),
            lacking=self.lacking[rows],
            error=self.error[rows],
            std=self.std[rows],
        )

    def part(self, place: Window, closed: NullSpace) -> GuidedSample:
        """Return a part of the sample, pixels of the target grid."""
        at = (..., *place.slices)
        given = self.network_input
        some = replace(given, planes=given.planes[at].clone(), others=given.others[at].clone())
        return replace(self, network_input=some, null_space=closed, lacking=self.lacking[at].clone())


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
    mixture = network(given.planes, given.constants, sample.ratio, relations=given.relations)
    # In float32: in bfloat16 a result is not consistent with the scene.
    with torch.autocast(given.planes.device.type, enabled=False):
        added = detail(given, *(v.float() for v in mixture))
        error = (sample.null_space.part(added, sample.anchors) - sample.lacking) / sample.error[:, None, None]
        relative = sample.error / sample.std
        weight = (relative / relative.mean()).sqrt().clamp(*WEIGHT_BOUNDS)
        losses = functional.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=HUBER_BETA)
        mean = losses.mean((1, 2)) if mask is None else (losses * mask).sum((1, 2)) / mask.sum()
        return (weight * mean).mean()


def inner_pixels(sample: GuidedSample) -> Tensor:
    """Return the mask of a part's pixels, (Y, X), but for a margin of one lr pixel, where the closed form ends."""
    height, width = sample.lacking.shape[1:]
    inner = (slice(sample.ratio, height - sample.ratio), slice(sample.ratio, width - sample.ratio))
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[inner] = True
    return mask


def draw_anchors(rng: Rng, sample: GuidedSample) -> GuidedSample:
    """Leave some anchors of some samples out."""
    count = len(sample.anchors)
    if count == 1 or rng.random() >= FEWER_ANCHORS_SHARE:
        return sample
    chosen = rng.choice(count, int(rng.integers(1, count + 1)), replace=False)
    return sample.rows(torch.from_numpy(np.sort(chosen)))


def draw_parts(rng: Rng, scene: DrawnScene) -> list[GuidedSample]:
    """Survey a scene and return some parts of the scene; none if the survey makes no use of the guide."""
    survey = survey_arrays(scene.lr, scene.guide, scene.known_psf)
    state = survey.model_state
    if state is None:
        return []
    assert isinstance(state, RegressionState)
    window, inputs = scene_window(survey, scene.lr, scene.guide)
    reference = torch.from_numpy(np.ascontiguousarray(scene.reference[list(survey.used)]))
    whole = guided_sample(window, inputs, reference, inputs.anchors.bands)
    ratio, shape = survey.psf.ratio, (scene.lr.shape[1], scene.lr.shape[2])
    side = min(SIDE_LR_PX[ratio], *shape)
    count = max(1, min(MAX_PARTS, round(COVERED_SHARE * shape[0] * shape[1] / side**2)))
    out = []
    for _ in range(count):
        # From even pixels of the target grid, which the network folds by two.
        y, x = (int(rng.integers(0, n - side + 1)) // 2 * 2 for n in shape)
        place = Window(y, y + side, x, x + side).scaled(ratio)
        out.append(whole.part(place, _null_space_of(survey.psf, side, state, whole, place)))
    return out


def _null_space_of(psf: Psf, side: int, state: RegressionState, whole: GuidedSample, place: Window) -> NullSpace:
    """Return the null space of a part as if the scene ended there."""
    closed = consistency(psf, (side, side), state.ridges.tolist(), operator(psf, (side, side)))
    blend = whole.null_space.blend
    return NullSpace(closed, whole.null_space.spectral, None if blend is None else blend[place.slices].clone())


def survey_arrays(lr: Floats, guide: Floats, psf: Psf | None) -> Survey:
    """Survey a scene (band, y, x) and its guide (guide band, Y, X), two arrays, for a known PSF or an estimated one."""
    ratio = guide.shape[1] // lr.shape[1]
    guided = Sample(lr, _bordered(guide, sample_margin(ratio)))
    return estimate_survey([guided], SurveyOptions(ratio, psf=psf))


def scene_window(survey: Survey, lr: Floats, guide: Floats) -> tuple[GuidedWindow, GuidedInputs]:
    """Return a whole scene as one window with its start, as a tile has it, and the inputs of the network."""
    state = survey.model_state
    assert isinstance(state, RegressionState)
    count, height, width = lr.shape
    packing = Packing("float32", (1.0,) * count, (0.0,) * count)
    context = TileContext(
        (height, width), count, survey.psf.ratio, max(height, width), MODEL, MODEL.fine, packing, "cpu", survey
    )
    tile = context.tiling[0]
    given = prepare(context, tile, lr, _bordered(guide, survey.guide_margin_px)).window
    start = spectral_window(given, *state.start, is_corrected=True).start
    assert start is not None
    assert start.guided is not None
    window = GuidedWindow(
        survey.space, given.cube, start.components, start.hr, start.guided, survey.psf, start.closed, given.weight
    )
    spectra, guide_lr = given.cube.flatten(1).numpy(), given.operator.degrade(start.guided.guide.values)
    valid = np.ones(spectra.shape[1], np.float32)
    return window, GuidedInputs.of(survey.space, state.fit, spectra, guide_lr.flatten(1).numpy(), valid)


def _bordered(guide: Floats, margin: int) -> Floats:
    return np.pad(guide, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)


def guided_sample(
    window: GuidedWindow, inputs: GuidedInputs, reference: Tensor, anchors: tuple[int, ...]
) -> GuidedSample:
    """Return the sample of a window and its reference (band, Y, X)."""
    rows = list(anchors)
    lacking = window.centred(reference, rows, spectral=inputs.spectral) - window.start(rows, spectral=inputs.spectral)
    std = torch.from_numpy(inputs.std)[rows]
    error = torch.maximum(lacking.square().mean((1, 2)).sqrt(), MIN_ERROR_STD * std)
    given = network_input(window, inputs, rows)
    return GuidedSample(given, null_space(window, inputs), window.psf.ratio, anchors, lacking, error, std)
