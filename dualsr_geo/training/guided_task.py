"""The lesson of our own network with a guide: how references differ from the training-free start.

Every sample goes through the project's own survey and start, so that the network is taught on what
it will see. That costs more than a step, so samples are kept in a pool and used several times
(research/algorithm-lab.md, section 7.6). The closed form is inside the loss.
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
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.survey.estimation import estimate_survey
from dualsr_geo.survey.sampling import Sample, SurveyOptions
from dualsr_geo.survey.survey import Survey
from dualsr_geo.training import augmentation, simulated_guides
from dualsr_geo.training.augmentation import Floats, Rng

# How it is learned (values of `Course`).
COURSE: Mapping[str, Any] = {
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
# How often a ratio is drawn, and the sides of its patches, lr pixels; small scenes need small ones.
RATIOS = {2: 0.12, 3: 0.08, 4: 0.45, 5: 0.03, 6: 0.05, 8: 0.27}
SIDES = {2: (48, 64, 96), 3: (32, 48, 64), 4: (24, 32, 48, 64), 5: (20, 32), 6: (16, 32), 8: (12, 24, 32)}
LEAST_SIDE = 10
# Bands of a sample that are learned on, samples of a step and their pixels.
ROWS, SAMPLES, PIXELS = 6, 2, 32768
# Samples kept, and the steps that one more serves.
POOL, STEPS_A_SAMPLE = 32, 8
# The wild share of samples falls to this, over the first samples.
LEAST_WILD = 0.35
NOISY_SHARE, NOISE = 0.3, (0.02, 0.15)
GUIDE_NOISY_SHARE, GUIDE_NOISE = 0.1, 0.01
CALM_GAINS, CUBIC_SHARE = (0.2, 0.4), 0.15
# A patch with less contrast than this share of its scene's is drawn again.
LEAST_CONTRAST, DRAWS = 0.1, 6
WEIGHTS = (0.2, 3.0)
LEAST_ERROR = 0.004
# Errors count by their square up to so many times the start's error. From 1 on the network says the
# median of what may be, and corrects too little: by half on wide bands.
OUTLIER = 3.0
VALIDATED = 4


@dataclass(frozen=True)
class Prepared:
    """A sample as the network and the loss need it.

    Attributes
    ----------
    window : GuidedWindow
    terms : GuidedInputs
    anchors : tuple of int
        Bands or components that are learned on.
    seen : NetworkInput
        Of these.
    start, reference : Tensor, shape (anchor, Y, X)
        Less the scene's mean.
    error : Tensor, shape (anchor,)
        Root mean square of what the start lacks.
    """

    window: GuidedWindow
    terms: GuidedInputs
    anchors: tuple[int, ...]
    seen: NetworkInput
    start: Tensor
    reference: Tensor
    error: Tensor


@dataclass(frozen=True)
class GuidedTask:
    """What the network with a guide is to learn.

    Attributes
    ----------
    references : mapping of str to array, shape (band, y, x)
        Scenes without holes, any units.
    cameras : mapping of str to sequence of array, shape (guide band, band)
        Responses of real guides to these references; others are made up.
    validation : mapping of str to (array, array)
        Scenes (band, y, x) and their guides (guide band, y, x).
    seed : int
    calm : int
        Samples after which fewest are wild.
    width, depth : int
        Of the network.
    """

    references: Mapping[str, Floats]
    cameras: Mapping[str, Sequence[Floats]] = field(default_factory=dict)
    validation: Mapping[str, tuple[Floats, Floats]] = field(default_factory=dict)
    seed: int = 0
    calm: int = 300
    width: int = 32
    depth: int = 5
    _pool: dict[int, Prepared] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, cube in self.references.items():
            if min(cube.shape[1:]) < 2 * LEAST_SIDE:
                raise InputError(
                    f"The reference {name} has {cube.shape[1]} x {cube.shape[2]} pixels, fewer than {2 * LEAST_SIDE} "
                    "a side. Leave it out."
                )
        if not self.references:
            raise InputError("There are 0 references to learn from. Give at least 1.")

    def network(self) -> GuidedNetwork:
        """Return the network before its first step."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return GuidedNetwork(self.width, self.depth)

    def batch(self, step: int) -> list[Prepared]:
        """Return some bands of some samples of the pool."""
        rng = np.random.default_rng((self.seed, 1, step))
        newest = POOL - 1 + step // STEPS_A_SAMPLE
        some = rng.choice(np.arange(newest - POOL + 1, newest + 1), SAMPLES, replace=False)
        for old in [i for i in self._pool if i <= newest - POOL]:
            del self._pool[old]
        return [drawn(rng, self._kept(int(i))) for i in some]

    def loss(self, network: nn.Module, batch: Sequence[Prepared]) -> Tensor:
        """Return how wrong the corrected start is, in units of the start's own error."""
        return torch.stack([wrongness(network, one) for one in batch]).mean()

    def validate(self, network: nn.Module) -> dict[str, dict[str, float]]:
        """Return PSNR and spectral angle of each scene, of the start and corrected."""
        with torch.inference_mode():
            return {name: _validated(network, *pair) for name, pair in self.validation.items()}

    def sample(self, index: int) -> Prepared:
        """Draw and prepare a sample; the same one for the same index and seed."""
        wild = 1 - (1 - LEAST_WILD) * min(1.0, index / max(self.calm, 1))
        for attempt in range(DRAWS):
            rng = np.random.default_rng((self.seed, 0, index, attempt))
            made = self._prepared(rng, wild=rng.random() < wild)
            if made is not None:
                return made
        raise InputError(f"{DRAWS} patches of {sorted(self.references)} held nothing to learn. Give other references.")

    def _kept(self, index: int) -> Prepared:
        if index not in self._pool:
            self._pool[index] = self.sample(index)
        return self._pool[index]

    def _prepared(self, rng: Rng, *, wild: bool) -> Prepared | None:
        ratio = int(rng.choice(list(RATIOS), p=list(RATIOS.values())))
        name = self._drawn(rng, ratio)
        if name is None:
            return None
        scene = self.references[name]
        fitting = [s for s in SIDES[ratio] if s * ratio <= min(scene.shape[1:])] or [min(scene.shape[1:]) // ratio]
        cut = augmentation.patch(rng, scene, int(rng.choice(fitting)) * ratio, np.arange(len(scene)))
        if cut.std((1, 2)).mean() < LEAST_CONTRAST * scene.std((1, 2)).mean():
            return None
        response = simulated_guides.response(rng, len(cut), self.cameras.get(name, ()), wild=wild)
        guide = np.einsum("gb,byx->gyx", response, cut).astype(np.float32)
        cube = simulated_guides.spectrum(rng, cut, wild=wild)
        blur, said = augmentation.psfs(rng, ratio) if wild else _calm_psf(rng, ratio)
        return _prepare(rng, cube, guide, blur, said, noisy=rng.random() < NOISY_SHARE)

    def _drawn(self, rng: Rng, ratio: int) -> str | None:
        names = [n for n, c in self.references.items() if min(c.shape[1:]) >= LEAST_SIDE * ratio]
        return str(rng.choice(names)) if names else None


def wrongness(network: Callable[..., tuple[Tensor, Tensor]], one: Prepared, counted: Tensor | None = None) -> Tensor:
    """Return how wrong a sample's corrected start is, in units of the start's own error, a scalar.

    Parameters
    ----------
    network : callable
        Called as the network is.
    one : Prepared
    counted : Tensor of bool, shape (Y, X), optional
        Pixels that count; all if left out.
    """
    seen = one.seen
    answer = network(seen.planes, seen.constants, one.window.psf.ratio)
    # Only the network may be lowered: consistency in bfloat16 is none.
    with torch.autocast(seen.planes.device.type, enabled=False):
        detailed = detail(seen, *(v.float() for v in answer))
        made = one.start + without_observed_part(one.window, one.terms, detailed, one.anchors)
        wrong = (made - one.reference) / one.error[:, None, None]
        relative = one.error / torch.from_numpy(one.terms.std)[list(one.anchors)]
        weight = (relative / relative.mean()).sqrt().clamp(*WEIGHTS)
        zero = torch.zeros_like(wrong)
        each = functional.smooth_l1_loss(wrong, zero, reduction="none", beta=OUTLIER)
        mean = each.mean((1, 2)) if counted is None else (each * counted).sum((1, 2)) / counted.sum()
        return (weight * mean).mean()


def drawn(rng: Rng, one: Prepared) -> Prepared:
    """Return a few anchors of a sample, so that steps are alike in size."""
    count = int(np.clip(PIXELS // one.start[0].numel(), 1, len(one.anchors)))
    rows = torch.from_numpy(np.sort(rng.choice(len(one.anchors), count, replace=False)))
    s = one.seen
    seen = NetworkInput(s.planes[rows], s.constants[rows], s.others[rows], s.weights[rows], s.error[rows])
    anchors = tuple(one.anchors[int(i)] for i in rows)
    return replace(
        one, anchors=anchors, seen=seen, start=one.start[rows], reference=one.reference[rows], error=one.error[rows]
    )


# ---- what a sample is made of ------------------------------------------------------------


def _calm_psf(rng: Rng, ratio: int) -> tuple[Psf, Psf]:
    if rng.random() < CUBIC_SHARE:
        blur = augmentation.matlab_bicubic(ratio)
    else:
        blur = Psf.from_mtf(ratio, float(rng.uniform(*CALM_GAINS)))
    return blur, blur


def _prepare(rng: Rng, cube: Floats, guide: Floats, blur: Psf, said: Psf, *, noisy: bool) -> Prepared | None:
    """Degrade a reference, survey it and make its start; None where the survey finds no use for the guide."""
    reference = torch.from_numpy(cube)
    shape = cube.shape[1] // blur.ratio, cube.shape[2] // blur.ratio
    lr = operator(blur, shape).degrade(reference).numpy()
    if noisy:
        level = float(np.exp(rng.uniform(*np.log(NOISE)))) * lr.std((1, 2)).mean()
        lr = lr + level * rng.standard_normal(lr.shape, np.float32)
    if rng.random() < GUIDE_NOISY_SHARE:
        level = rng.uniform(0, GUIDE_NOISE) * guide.std((1, 2)).mean()
        guide = guide + level * rng.standard_normal(guide.shape, np.float32)
    known = known_of(lr, guide, said)
    if known.fit is None:
        return None
    window, said_of = opened(known, lr, guide)
    count = len(said_of.std)
    # Of a noisy scene only the leading components are ever corrected.
    some = rng.permutation(min(count, len(said_of.anchors.bands)) if said_of.spectral else count)[:ROWS]
    return shown(window, said_of, reference, tuple(int(i) for i in np.sort(some)))


def known_of(lr: Floats, guide: Floats, said: Psf) -> Survey:
    """Survey a scene (band, y, x) and its guide (guide band, Y, X) that lie in memory."""
    margin = sample_margin(said.ratio)
    around = np.pad(guide, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)
    return estimate_survey([Sample(lr, around)], SurveyOptions(said.ratio, psf=said))


def opened(known: Survey, lr: Floats, guide: Floats) -> tuple[GuidedWindow, GuidedInputs]:
    """Return a whole scene as one window with its start, and the terms in which the network is told of it."""
    assert known.fit is not None
    assert known.mixture is not None
    cube, space = torch.from_numpy(np.ascontiguousarray(lr[list(known.used)])), known.space
    shape = cube.shape[1], cube.shape[2]
    op = operator(known.psf, (shape[0], shape[1]))
    guided = coarse_stage.GuidedStart(
        PreparedGuide(torch.from_numpy(guide), None, None), known.fit, torch.from_numpy(known.mixture)
    )
    closed, alone = (consistency(known.psf, shape, v.tolist(), op) for v in (known.lams, known.lams_alone))
    z = components(space, cube)
    hr = coarse_stage.sharpen(z, None, guided, closed, alone)
    flat, seen = cube.flatten(1).numpy(), op.degrade(guided.guide.values).flatten(1).numpy()
    said = GuidedInputs.of(space, known.fit, known.mixture, flat, seen, np.ones(flat.shape[1], np.float32))
    return GuidedWindow(space, cube, z, hr, guided, known.psf, closed), said


def shown(window: GuidedWindow, said: GuidedInputs, reference: Tensor, anchors: tuple[int, ...]) -> Prepared:
    """Return a window as the network and the loss need it, beside its reference (band, Y, X)."""
    some = list(anchors)
    wanted = window.centred(reference, some, spectral=said.spectral)
    start = window.start(some, spectral=said.spectral)
    error = (start - wanted).square().mean((1, 2)).sqrt()
    least = LEAST_ERROR * torch.from_numpy(said.std)[some]
    return Prepared(
        window, said, anchors, network_input(window, said, some), start, wanted, torch.maximum(error, least)
    )


def _validated(network: nn.Module, cube: Floats, guide: Floats) -> dict[str, float]:
    """Degrade a scene by the usual gain, and score start and corrected start on its anchors."""
    height, width = (n // VALIDATED * VALIDATED for n in cube.shape[1:])
    cut = np.ascontiguousarray(cube[:, :height, :width] / cube.max())
    psf = Psf.from_mtf(VALIDATED)
    lr = operator(psf, (height // VALIDATED, width // VALIDATED)).degrade(torch.from_numpy(cut)).numpy()
    near = np.ascontiguousarray(guide[:, :height, :width] / cube.max(), np.float32)
    window, said = opened(known_of(lr, near, psf), lr, near)
    one = shown(window, said, torch.from_numpy(cut), said.anchors.bands)
    parts = []
    for i in range(len(one.anchors)):
        row = slice(i, i + 1)
        s = one.seen
        seen = NetworkInput(s.planes[row], s.constants[row], s.others[row], s.weights[row], s.error[row])
        answer = network(seen.planes, seen.constants, VALIDATED)
        parts.append(without_observed_part(window, said, detail(seen, *answer), one.anchors[row]))
    made = one.start + torch.cat(parts)
    level = torch.zeros(1) if said.spectral else torch.from_numpy(window.space.mean)[list(one.anchors), None, None]
    return {
        **_scores(one.start + level, one.reference + level, "start_"),
        **_scores(made + level, one.reference + level, ""),
    }


def _scores(estimate: Tensor, reference: Tensor, prefix: str) -> dict[str, float]:
    square = float((estimate - reference).double().square().mean())
    cosine = functional.cosine_similarity(estimate.double(), reference.double(), dim=0).clamp(-1, 1)
    angle = float(torch.rad2deg(torch.acos(cosine)).mean())
    return {f"{prefix}psnr": 10 * math.log10(1 / square), f"{prefix}sam": angle}
