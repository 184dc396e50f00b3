"""Fine stages that correct a coarse estimate: what each adds to a few bands of one window.

All of them work on anchor bands, and linear relations of the scene carry the correction to every
band. What is fitted or decided for the whole scene is one frozen value, `FineStage`, so that a tile
stays a pure function. `dualsr_geo.engine.fine_stage_fit` decides how far the correction is shrunk.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from dualsr_geo.degradation.consistency import Consistency
from dualsr_geo.degradation.operators import Operator, operator
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.tiles import crops
from dualsr_geo.fusion.anchor_bands import AnchorBands
from dualsr_geo.models.correction import PairEvidence
from dualsr_geo.models.definition import Model
from dualsr_geo.models.networks import backprojection, refiner
from dualsr_geo.models.unguided_correction import null_space_part
from dualsr_geo.raster.windows import Window
from dualsr_geo.serialization import from_json, to_json
from dualsr_geo.survey.survey import Survey

# The guide's misfit is clipped to so many of its mean absolute values before the network reads it.
MAX_MISFIT = 8.0
SEED = 0
KEY = "refinement"


@dataclass(frozen=True)
class Scales:
    """The network's units, and the guide's response to the anchors.

    Attributes
    ----------
    mean, std, error : array, shape (anchor,)
        Of the coarse estimate, and of its error on the scene's Wald pair.
    guide_mean, guide_std, missed : array, shape (guide band,)
        Of the guide, and the mean absolute value of what the response leaves of it.
    response : array, shape (guide band, anchor)
        Change of the guide by a correction of the anchors, spread to all bands.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    error: NDArray[np.float32]
    guide_mean: NDArray[np.float32]
    guide_std: NDArray[np.float32]
    missed: NDArray[np.float32]
    response: NDArray[np.float32]

    @classmethod
    def of(cls, views: Sequence[FineStageInput], response: NDArray[np.float32], error: NDArray[np.float32]) -> Scales:
        """Return the units of a scene from some views of it; see the attributes."""
        pixels = [[planes.flatten(1) for planes in _planes(v)] for v in views]
        start, guide, missed = (torch.cat(each, 1) for each in zip(*pixels, strict=True))
        tiny = torch.finfo(torch.float32).tiny

        def spread(x: Tensor) -> NDArray[np.float32]:
            return x.std(1, correction=0).clamp_min(tiny).numpy()

        least = missed.abs().mean(1).clamp_min(tiny).numpy()
        return cls(start.mean(1).numpy(), spread(start), error, guide.mean(1).numpy(), spread(guide), least, response)

    def planes(self, view: FineStageInput) -> Tensor:
        """Return what the network reads, (plane, Y, X)."""
        start, guide, missed = _planes(view)
        mean, std, guide_mean, guide_std, typical = (
            torch.from_numpy(v).to(start)[:, None, None]
            for v in (self.mean, self.std, self.guide_mean, self.guide_std, self.missed)
        )
        misfit = (missed / typical).clamp(-MAX_MISFIT, MAX_MISFIT)
        return torch.cat([(start - mean) / std, (guide - guide_mean) / guide_std, misfit])

    def network_units(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return response and error in units of standard deviations."""
        response, std, guide_std, error = (
            torch.from_numpy(v).to(like) for v in (self.response, self.std, self.guide_std, self.error)
        )
        return response * std / guide_std[:, None], error / std


@dataclass(frozen=True)
class FineStageInput:
    """The coarse estimate of a window on the anchor bands.

    Attributes
    ----------
    start : Tensor, shape (anchor, ratio * y, ratio * x)
        The estimate, physical units.
    observed : Tensor, shape (anchor, y, x)
        The scene, filled; on noisy scenes what the subspace keeps.
    operator : Operator
        The window's degradation.
    psf : Psf
    closed : Consistency or None
        The closed form of the anchors, where the estimate is consistent and has to stay so.
    valid : Tensor, shape (ratio * y, ratio * x), or None
        How far the correction is used, 0..1; None for everywhere.
    guide : Tensor, shape (guide band, ratio * y, ratio * x), or None
    missed : Tensor, the same shape, or None
        What the response leaves of the guide, but for what it leaves on the lr grid.
    half : Tensor, shape (anchor, ratio * y / 2, ratio * x / 2), or None
        The estimate at half the ratio; at ratio 2 the scene.
    """

    start: Tensor
    observed: Tensor
    operator: Operator
    psf: Psf
    closed: Consistency | None = None
    valid: Tensor | None = None
    guide: Tensor | None = None
    missed: Tensor | None = None
    half: Tensor | None = None

    def cut(self, core: Window) -> FineStageInput:
        """Return a part (lr pixels) as if it were a scene of its own, for a fine stage to learn from."""
        ratio = self.psf.ratio
        op = operator(self.psf, core.shape, device=self.start.device)
        start, observed = self.start[:, *core.scaled(ratio).slices], self.observed[:, *core.slices]
        valid, guide, missed = (
            None if value is None else value[..., *core.scaled(ratio).slices]
            for value in (self.valid, self.guide, self.missed)
        )
        half = self.half
        if half is not None:
            half = half[:, *core.scaled(ratio // 2).slices]
        return FineStageInput(start, observed, op, self.psf, None, valid, guide, missed, half)


def _planes(view: FineStageInput) -> tuple[Tensor, Tensor, Tensor]:
    if view.guide is None or view.missed is None:
        raise TypeError("a view without a guide")
    return view.start, view.guide, view.missed


@dataclass(frozen=True, eq=False)
class FineStage:
    """A fine stage as it is fitted to a scene.

    Attributes
    ----------
    fine : str
    anchors : AnchorBands
    share : float
        Shrinkage factor of the correction, 0..1.
    evidence : tuple of PairEvidence
        What the factor rests on.
    angle : float or None
        Of ``"backprojection"``: the scene's mean spectral angle, degrees, at most 1.
    half : Survey or None
        Of back-projection above ratio 2: the scene at half the ratio.
    scales : Scales or None
        Of FineNet.
    state : mapping of str to Tensor
        The weights of ``"finenet"``; empty where each tile fits its own.
    steps : int
        How many steps its fit took.
    """

    fine: str
    anchors: AnchorBands
    share: float
    evidence: tuple[PairEvidence, ...] = ()
    angle: float | None = None
    half: Survey | None = None
    scales: Scales | None = None
    state: Mapping[str, Tensor] = field(default_factory=dict)
    steps: int = 0

    @property
    def is_projected(self) -> bool:
        """Whether it compares with the result of half the ratio."""
        return self.fine.startswith("backprojection")

    def to_bytes(self) -> bytes:
        """Return a safetensors file; `read` is its inverse."""
        record = {
            "fine": self.fine,
            "anchors": to_json(self.anchors),
            "share": self.share,
            "evidence": [to_json(e) for e in self.evidence],
            "angle": self.angle,
            "half": self.half and self.half.to_json(),
            "steps": self.steps,
        }
        arrays = {} if self.scales is None else {f.name: getattr(self.scales, f.name) for f in fields(Scales)}
        tensors = {f"scales.{name}": torch.from_numpy(v).contiguous() for name, v in arrays.items()}
        return save({**tensors, **self.state}, {KEY: json.dumps(record, sort_keys=True)})

    @property
    def sha256(self) -> str:
        """Of its file."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def read(cls, path: str | os.PathLike[str], model: Model) -> FineStage:
        """Read a file of what `to_bytes` returned, for a run of this model."""
        with safe_open(Path(path), "pt") as file:
            record: dict[str, Any] = json.loads(file.metadata()[KEY])
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118  # it is no mapping
        arrays = {k.removeprefix("scales."): v.numpy() for k, v in tensors.items() if k.startswith("scales.")}
        record["anchors"] = from_json(AnchorBands, record["anchors"])
        record["evidence"] = tuple(from_json(PairEvidence, e) for e in record["evidence"])
        record["half"] = record["half"] and Survey.from_json(record["half"], model.for_trial())
        state = {k: v for k, v in tensors.items() if not k.startswith("scales.")}
        return cls(**record, scales=Scales(**arrays) if arrays else None, state=state)


def correct(stage: FineStage, view: FineStageInput) -> Tensor:
    """Return what a fine stage adds to the anchors of a window, (anchor, ratio * y, ratio * x), physical units.

    Where the estimate is consistent with the scene, the part that the sensor would have recorded is taken
    out. FineNet adds nothing where it has no guide.
    """
    if not stage.is_projected and view.guide is None:
        return torch.zeros_like(view.start)
    detail = _projected(stage, view) if stage.is_projected else _refined(stage, view)
    if view.valid is not None:
        detail = detail * view.valid
    if view.closed is not None:
        detail = null_space_part(detail, view.closed)
    return detail * stage.share


def _projected(stage: FineStage, view: FineStageInput) -> Tensor:
    """Return ``up(lambda (V - down(U)))``, DualSR's equations (6) to (11)."""
    assert view.half is not None
    missing = view.half - backprojection.halved(view.start)
    if stage.angle is not None:
        return backprojection.doubled(missing * stage.angle)
    return backprojection.doubled(missing * angles(view).clamp(max=1.0).to(missing))


def angles(view: FineStageInput) -> Tensor:
    """Return the spectral angle between V and the halved estimate, degrees, float64, (y, x) at half the ratio."""
    assert view.half is not None
    return backprojection.angles(backprojection.halved(view.start), view.half)


def _refined(stage: FineStage, view: FineStageInput) -> Tensor:
    assert stage.scales is not None
    scales, state = stage.scales, stage.state
    if not state:
        state = fit([view], scales).state
    network = refiner.refiner_of(state).to(view.start.device)
    error = torch.from_numpy(scales.error).to(view.start)[:, None, None]
    return error * refiner.apply(network, scales.planes(view))


def fit(views: Sequence[FineStageInput], scales: Scales) -> refiner.FittedRefiner:
    """Fit SFPN's fine stage to a bounded number of varied crops of some views."""
    ratio = views[0].psf.ratio
    chosen = crops.choose([v.observed for v in views], crop_side(ratio), crop_count(ratio))
    with torch.inference_mode(mode=False):
        response, error = scales.network_units(views[0].start)
        return refiner.fit([_crop(views[i].cut(w), scales) for i, w in chosen], response, error, seed=SEED)


def crop_side(ratio: int) -> int:
    """Return the side of a crop, lr pixels: 64 hr pixels, and room for the blur."""
    return max(12, 64 // ratio)


def crop_count(ratio: int) -> int:
    """Return how many crops are fitted on: about the same hr pixels at every ratio."""
    return min(max(4, 2**17 // (crop_side(ratio) * ratio) ** 2), 16)


def _crop(view: FineStageInput, scales: Scales) -> refiner.Crop:
    _, _, missed = _planes(view)
    std, guide_std = (torch.from_numpy(v).to(missed)[:, None, None] for v in (scales.std, scales.guide_std))
    residual = (view.observed - view.operator.degrade(view.start)) / std
    return refiner.Crop(scales.planes(view), missed / guide_std, residual, _counted(view), view.operator.degrade)


def _counted(view: FineStageInput) -> Tensor:
    """Return 1 where the blur of a pixel is inside the view and the correction is used, (y, x)."""
    height, width = view.observed.shape[1:]
    reach = view.psf.reach_lr
    edge = reach if min(height, width) > 2 * reach else 0
    inner = view.observed.new_zeros(height, width)
    inner[edge : height - edge, edge : width - edge] = 1
    if view.valid is None:
        return inner
    whole = functional.avg_pool2d(view.valid[None, None], view.psf.ratio)[0, 0]
    return inner * (whole >= 1)
