"""Training task of the guided network: correct the training-free start towards a reference.

Every sample is surveyed and started as a scene is, so that the network is trained on the inputs of
a product. That takes longer than a step, so samples are kept in a pool and used in several steps.
The closed form is inside the loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.degradation.operators import operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.errors import InputError
from dualsr_geo.fusion import coarse_stage
from dualsr_geo.fusion.blocks import components
from dualsr_geo.fusion.prepared_guide import PreparedGuide
from dualsr_geo.models.guided_correction import GuidedWindow, NetworkInput, detail, network_input, without_observed_part
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.models.methods.regression import RegressionState
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.survey.estimation import estimate_survey
from dualsr_geo.survey.sampling import Sample, SurveyOptions
from dualsr_geo.survey.survey import Survey
from dualsr_geo.training import augmentation, simulated_guides
from dualsr_geo.training.augmentation import Floats, Rng

# Default fields of `TrainingConfig`.
CONFIG: Mapping[str, Any] = {
    "steps": 20_000,
    "rate": 1.5e-3,
    "schedule": "cosine",
    "warmup": 100,
    "optimiser": "adamw",
    "weight_decay": 1e-4,
    "largest_gradient": 1.0,
    "average": 0.999,
    "bf16": True,
}
# Shares of the samples by ratio.
RATIO_SHARES = {2: 0.12, 3: 0.08, 4: 0.45, 5: 0.03, 6: 0.05, 8: 0.27}
# Sides of the patches of each ratio, lr pixels; small scenes need small ones.
SIDES_LR_PX = {2: (48, 64, 96), 3: (32, 48, 64), 4: (24, 32, 48, 64), 5: (20, 32), 6: (16, 32), 8: (12, 24, 32)}
# Side of the smallest patch, lr pixels.
MIN_SIDE_LR_PX = 10
# Most anchor bands of a sample; samples of a step, and most hr pixels of one, bands times pixels.
MAX_ANCHORS, SAMPLES_PER_STEP, MAX_SAMPLE_PX = 6, 2, 32768
# Samples in the pool, and steps after which one is replaced.
POOL_SIZE, STEPS_PER_SAMPLE = 32, 8
# The share of unusual samples falls from 1 to this.
FINAL_UNUSUAL_SHARE = 0.35
# Share of the samples with noise, and the range of its standard deviation, in those of the lr bands.
NOISY_SHARE, NOISE_STDS = 0.3, (0.02, 0.15)
# The same of the guides, whose noise is at most this.
NOISY_GUIDE_SHARE, MAX_GUIDE_NOISE_STD = 0.1, 0.01
# Of usual samples: range of the MTF gains at the lr Nyquist frequency, and share of MATLAB's bicubic reduction.
USUAL_GAINS, USUAL_CUBIC_SHARE = (0.2, 0.4), 0.15
# A patch with less contrast than this share of its scene's is drawn again, so many times.
MIN_CONTRAST_SHARE, MAX_DRAWS = 0.1, 6
# Bounds of the weights of a sample's bands, which grow with the root of their errors.
WEIGHT_BOUNDS = (0.2, 3.0)
# Least error of a start that the loss is divided by, in standard deviations of the band.
MIN_ERROR_STD = 0.004
# The loss is quadratic up to so many times the start's error. With 1 the network learns the median of the
# possible corrections, and corrects too little: by half on wide bands.
HUBER_BETA = 3.0
VALIDATION_RATIO = 4


@dataclass(frozen=True)
class GuidedSample:
    """A sample of the guided network.

    Attributes
    ----------
    window : GuidedWindow
    inputs : GuidedInputs
    anchors : tuple of int
        Bands or components that the network is trained on.
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


@dataclass(frozen=True)
class GuidedTask:
    """Training of the guided network on patches of references.

    Attributes
    ----------
    references : mapping of str to array, shape (band, y, x)
        Scenes without nodata, any units.
    cameras : mapping of str to sequence of array, shape (guide band, band)
        Responses of real guides to these references; others are drawn at random.
    validation : mapping of str to (array, array)
        Scenes (band, y, x) and their guides (guide band, y, x).
    seed : int
    unusual_samples : int
        Number of samples over which the share of unusual ones falls to its last value.
    width, depth : int
        Of the network.
    """

    references: Mapping[str, Floats]
    cameras: Mapping[str, Sequence[Floats]] = field(default_factory=dict)
    validation: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)
    seed: int = 0
    unusual_samples: int = 300
    width: int = 32
    depth: int = 5
    _pool: dict[int, GuidedSample] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, cube in self.references.items():
            if min(cube.shape[1:]) < 2 * MIN_SIDE_LR_PX:
                raise InputError(
                    f"The reference {name} has {cube.shape[1]} x {cube.shape[2]} pixels, fewer than {2 * MIN_SIDE_LR_PX} "
                    "a side. Leave it out."
                )
        if not self.references:
            raise InputError("There are 0 references to learn from. Give at least 1.")

    def network(self) -> GuidedNetwork:
        """Return the network before its first step."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return GuidedNetwork(self.width, self.depth)

    def batch(self, step: int) -> list[GuidedSample]:
        """Return some anchors of some samples of the pool."""
        rng = np.random.default_rng((self.seed, 1, step))
        newest = POOL_SIZE - 1 + step // STEPS_PER_SAMPLE
        chosen = rng.choice(np.arange(newest - POOL_SIZE + 1, newest + 1), SAMPLES_PER_STEP, replace=False)
        for old in [i for i in self._pool if i <= newest - POOL_SIZE]:
            del self._pool[old]
        return [draw_anchors(rng, self._pooled(int(i))) for i in chosen]

    def loss(self, network: nn.Module, batch: Sequence[GuidedSample]) -> Tensor:
        """Return the error of the corrected start in units of the start's own error."""
        return torch.stack([sample_loss(network, sample) for sample in batch]).mean()

    def validate(self, network: nn.Module) -> dict[str, dict[str, float]]:
        """Return PSNR and spectral angle of each scene, of the start and corrected."""
        with torch.inference_mode():
            return {name: _validate(network, *pair) for name, pair in self.validation.items()}

    def sample(self, index: int) -> GuidedSample:
        """Draw and prepare a sample; the same one for the same index and seed."""
        unusual_share = 1 - (1 - FINAL_UNUSUAL_SHARE) * min(1.0, index / max(self.unusual_samples, 1))
        for attempt in range(MAX_DRAWS):
            rng = np.random.default_rng((self.seed, 0, index, attempt))
            sample = self._draw(rng, unusual=rng.random() < unusual_share)
            if sample is not None:
                return sample
        raise InputError(
            f"{MAX_DRAWS} patches of {sorted(self.references)} have no contrast, or no detail that a guide explains. "
            "Give other references."
        )

    def _pooled(self, index: int) -> GuidedSample:
        if index not in self._pool:
            self._pool[index] = self.sample(index)
        return self._pool[index]

    def _draw(self, rng: Rng, *, unusual: bool) -> GuidedSample | None:
        """Draw a sample; None if it has too little contrast, or no detail that the guide explains."""
        ratio = int(rng.choice(list(RATIO_SHARES), p=list(RATIO_SHARES.values())))
        name = self._draw_reference(rng, ratio)
        if name is None:
            return None
        scene = self.references[name]
        shortest = min(scene.shape[1:])
        sides = [s for s in SIDES_LR_PX[ratio] if s * ratio <= shortest] or [shortest // ratio]
        patch = augmentation.draw_patch(rng, scene, int(rng.choice(sides)) * ratio, np.arange(len(scene)))
        if patch.std((1, 2)).mean() < MIN_CONTRAST_SHARE * scene.std((1, 2)).mean():
            return None
        responses = simulated_guides.draw_responses(rng, len(patch), self.cameras.get(name, ()), unusual=unusual)
        guide = np.einsum("gb,byx->gyx", responses, patch).astype(np.float32)
        cube = simulated_guides.vary_spectrum(rng, patch, unusual=unusual)
        psf, assumed_psf = augmentation.draw_psfs(rng, ratio) if unusual else _draw_usual_psf(rng, ratio)
        return _prepare(rng, cube, guide, psf, assumed_psf, noisy=rng.random() < NOISY_SHARE)

    def _draw_reference(self, rng: Rng, ratio: int) -> str | None:
        names = [n for n, c in self.references.items() if min(c.shape[1:]) >= MIN_SIDE_LR_PX * ratio]
        return str(rng.choice(names)) if names else None


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
    mixture = network(given.planes, given.constants, sample.window.psf.ratio)
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
        network_input=input_rows(sample.network_input, rows),
        start=sample.start[rows],
        reference=sample.reference[rows],
        error=sample.error[rows],
    )


def input_rows(given: NetworkInput, rows: Tensor | slice) -> NetworkInput:
    """Return the input of some anchors."""
    return NetworkInput(
        given.planes[rows], given.constants[rows], given.others[rows], given.weights[rows], given.error[rows]
    )


# ---- samples -----------------------------------------------------------------------------


def _draw_usual_psf(rng: Rng, ratio: int) -> tuple[Psf, Psf]:
    if rng.random() < USUAL_CUBIC_SHARE:
        psf = augmentation.matlab_bicubic(ratio)
    else:
        psf = Psf.from_mtf(ratio, float(rng.uniform(*USUAL_GAINS)))
    return psf, psf


def _prepare(rng: Rng, cube: Floats, guide: Floats, psf: Psf, assumed_psf: Psf, *, noisy: bool) -> GuidedSample | None:
    """Degrade a reference, survey it and compute its start; None if the survey makes no use of the guide."""
    reference = torch.from_numpy(cube)
    shape = cube.shape[1] // psf.ratio, cube.shape[2] // psf.ratio
    lr = operator(psf, shape).degrade(reference).numpy()
    if noisy:
        level = float(np.exp(rng.uniform(*np.log(NOISE_STDS)))) * lr.std((1, 2)).mean()
        lr = lr + level * rng.standard_normal(lr.shape, np.float32)
    if rng.random() < NOISY_GUIDE_SHARE:
        level = rng.uniform(0, MAX_GUIDE_NOISE_STD) * guide.std((1, 2)).mean()
        guide = guide + level * rng.standard_normal(guide.shape, np.float32)
    survey = survey_arrays(lr, guide, assumed_psf)
    if survey.model_state is None:
        return None
    window, inputs = scene_window(survey, lr, guide)
    count = len(inputs.std)
    # Of a noisy scene only the leading components are ever corrected.
    candidates = rng.permutation(min(count, len(inputs.anchors.bands)) if inputs.spectral else count)
    return guided_sample(window, inputs, reference, tuple(int(i) for i in np.sort(candidates[:MAX_ANCHORS])))


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


def _validate(network: nn.Module, cube: Floats, guide: Floats) -> dict[str, float]:
    """Degrade a scene by the usual gain, and score start and corrected start on its anchors."""
    ratio = VALIDATION_RATIO
    height, width = (n // ratio * ratio for n in cube.shape[1:])
    reference = np.ascontiguousarray(cube[:, :height, :width] / cube.max())
    psf = Psf.from_mtf(ratio)
    lr = operator(psf, (height // ratio, width // ratio)).degrade(torch.from_numpy(reference)).numpy()
    scaled_guide = np.ascontiguousarray(guide[:, :height, :width] / cube.max(), np.float32)
    window, inputs = scene_window(survey_arrays(lr, scaled_guide, psf), lr, scaled_guide)
    sample = guided_sample(window, inputs, torch.from_numpy(reference), inputs.anchors.bands)
    corrections = []
    for i in range(len(sample.anchors)):
        row = slice(i, i + 1)
        given = input_rows(sample.network_input, row)
        mixture = network(given.planes, given.constants, ratio)
        corrections.append(without_observed_part(window, inputs, detail(given, *mixture), sample.anchors[row]))
    corrected = sample.start + torch.cat(corrections)
    bands = list(sample.anchors)
    level = torch.zeros(1) if inputs.spectral else torch.from_numpy(window.space.mean)[bands, None, None]
    return {
        **_scores(sample.start + level, sample.reference + level, "start_"),
        **_scores(corrected + level, sample.reference + level, ""),
    }


def _scores(estimate: Tensor, reference: Tensor, prefix: str) -> dict[str, float]:
    square = float((estimate - reference).double().square().mean())
    cosine = functional.cosine_similarity(estimate.double(), reference.double(), dim=0).clamp(-1, 1)
    angle = float(torch.rad2deg(torch.acos(cosine)).mean())
    return {f"{prefix}psnr": 10 * math.log10(1 / square), f"{prefix}sam": angle}
