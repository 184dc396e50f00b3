"""Fine stages that correct the coarse estimate of a window: FineNet and back-projection.

They correct the anchor bands, and linear relations of the scene carry the correction to all bands.
Everything that is estimated for the whole scene is in one frozen value, `FineStage`, so that a tile is a
pure function. `dualsr_geo.engine.fine_stage.fit` estimates the shrinkage of the correction.
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
from dualsr_geo.surveying.survey import Survey

# The guide's misfit is clipped to so many of its mean absolute values before the network reads it.
MAX_MISFIT = 8.0
# Smallest side of a crop to which FineNet is fitted, lr px, and its usual side, hr px.
MIN_CROP_LR, CROP_PX = 12, 64
# Number of crops: as many as have FIT_PX hr pixels together, within these limits.
MIN_CROPS, MAX_CROPS, FIT_PX = 4, 16, 2**17
# Seed of FineNet's initial weights.
SEED = 0
# Key of the record in the metadata of a safetensors file.
KEY = "refinement"


@dataclass(frozen=True)
class Scales:
    """Units of FineNet's inputs, and the response of the guide to the anchors.

    Attributes
    ----------
    mean, std, error : array, shape (anchor,)
        Mean and standard deviation of the coarse estimate, and its error on the scene's Wald pair.
    guide_mean, guide_std, missed : array, shape (guide band,)
        Mean and standard deviation of the guide, and mean absolute value of its misfit.
    response : array, shape (guide band, anchor)
        Change of the guide by a correction of the anchors that is spread to all bands.
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
        """Estimate the units of a scene from some windows."""
        pixels = [[planes.flatten(1) for planes in _planes(v)] for v in views]
        start, guide, missed = (torch.cat(each, 1) for each in zip(*pixels, strict=True))
        tiny = torch.finfo(torch.float32).tiny

        def std(x: Tensor) -> NDArray[np.float32]:
            return x.std(1, correction=0).clamp_min(tiny).numpy()

        misfit = missed.abs().mean(1).clamp_min(tiny).numpy()
        return cls(start.mean(1).numpy(), std(start), error, guide.mean(1).numpy(), std(guide), misfit, response)

    def planes(self, view: FineStageInput) -> Tensor:
        """Return the inputs of the network, (plane, Y, X): estimate, guide and misfit in their units."""
        start, guide, missed = _planes(view)
        mean, std, guide_mean, guide_std, typical = (
            torch.from_numpy(v).to(start)[:, None, None]
            for v in (self.mean, self.std, self.guide_mean, self.guide_std, self.missed)
        )
        misfit = (missed / typical).clamp(-MAX_MISFIT, MAX_MISFIT)
        return torch.cat([(start - mean) / std, (guide - guide_mean) / guide_std, misfit])

    def network_units(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the response and the error in standard deviations of guide and anchors."""
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
        The filled scene; on noisy scenes its projection on the subspace.
    operator : Operator
        The degradation of the window.
    psf : Psf
    closed : Consistency or None
        The closed form of the anchors; None if the estimate need not be consistent.
    valid : Tensor, shape (ratio * y, ratio * x), or None
        Weight of the correction, 0..1; None for 1 everywhere.
    guide : Tensor, shape (guide band, ratio * y, ratio * x), or None
    missed : Tensor, the same shape, or None
        Misfit of the guide: the guide less the response to the estimate, without the difference of both on the
        lr grid.
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
        """Return a part (lr pixels) as a scene, to fit a fine stage to."""
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
        raise TypeError("FineNet needs a guide, and the window has none")
    return view.start, view.guide, view.missed


@dataclass(frozen=True, eq=False)
class FineStage:
    """A fine stage that is fitted to a scene.

    Attributes
    ----------
    fine : str
    anchors : AnchorBands
    share : float
        Shrinkage factor of the correction, 0..1.
    evidence : tuple of PairEvidence
        Evidence of the Wald pairs for the factor.
    angle : float or None
        Mean spectral angle of the scene for ``"backprojection"``, degrees, at most 1.
    half : Survey or None
        Survey of the scene at half the ratio, for back-projection above ratio 2.
    scales : Scales or None
        Units of FineNet.
    state : mapping of str to Tensor
        Weights of ``"finenet"``; empty where each tile fits its own.
    steps : int
        Number of steps of the fit.
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
        """Whether the correction is projected from the result of half the ratio."""
        return self.fine.startswith("backprojection")

    def to_bytes(self) -> bytes:
        """Return the bytes of a safetensors file; `read` is the inverse."""
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
        """Hash of `to_bytes`."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @classmethod
    def read(cls, path: str | os.PathLike[str], model: Model) -> FineStage:
        """Read a file that `to_bytes` made, for a run of this model."""
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
    """Return the correction of the anchors of a window, (anchor, ratio * y, ratio * x), physical units.

    If the estimate has to stay consistent, the part that the sensor would have recorded is removed. FineNet
    adds nothing without a guide.
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
    """Return the spectral angles of V and the halved estimate, degrees, float64, (y, x) at half the ratio."""
    assert view.half is not None
    return backprojection.angles(backprojection.halved(view.start), view.half)


def _refined(stage: FineStage, view: FineStageInput) -> Tensor:
    """Return the output of FineNet, physical units; it is fitted to the window if the stage has no weights."""
    assert stage.scales is not None
    scales, state = stage.scales, stage.state
    if not state:
        state = fit([view], scales).state
    network = refiner.refiner_of(state).to(view.start.device)
    error = torch.from_numpy(scales.error).to(view.start)[:, None, None]
    return error * refiner.apply(network, scales.planes(view))


def fit(views: Sequence[FineStageInput], scales: Scales) -> refiner.FittedRefiner:
    """Fit FineNet, the fine stage of SFPN, to a bounded number of varied crops of some windows."""
    ratio = views[0].psf.ratio
    chosen = crops.choose([v.observed for v in views], crop_side(ratio), crop_count(ratio))
    with torch.inference_mode(mode=False):
        response, error = scales.network_units(views[0].start)
        return refiner.fit([_crop(views[i].cut(w), scales) for i, w in chosen], response, error, seed=SEED)


def crop_side(ratio: int) -> int:
    """Return the side of a crop, lr pixels."""
    return max(MIN_CROP_LR, CROP_PX // ratio)


def crop_count(ratio: int) -> int:
    """Return the number of crops of a fit, which have about as many hr pixels at every ratio."""
    return min(max(MIN_CROPS, FIT_PX // (crop_side(ratio) * ratio) ** 2), MAX_CROPS)


def _crop(view: FineStageInput, scales: Scales) -> refiner.Crop:
    _, _, missed = _planes(view)
    std, guide_std = (torch.from_numpy(v).to(missed)[:, None, None] for v in (scales.std, scales.guide_std))
    residual = (view.observed - view.operator.degrade(view.start)) / std
    return refiner.Crop(scales.planes(view), missed / guide_std, residual, _counted(view), view.operator.degrade)


def _counted(view: FineStageInput) -> Tensor:
    """Return 1 where the blur of a pixel is inside the window and the correction is used, else 0, (y, x)."""
    height, width = view.observed.shape[1:]
    reach = view.psf.reach_lr
    edge = reach if min(height, width) > 2 * reach else 0
    inner = view.observed.new_zeros(height, width)
    inner[edge : height - edge, edge : width - edge] = 1
    if view.valid is None:
        return inner
    whole = functional.avg_pool2d(view.valid[None, None], view.psf.ratio)[0, 0]
    return inner * (whole >= 1)
