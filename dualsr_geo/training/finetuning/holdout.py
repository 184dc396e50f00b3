"""Scores of weights fitted to a scene, on held-out blocks of its Wald pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import t as student

from dualsr_geo.errors import InputError
from dualsr_geo.models.guided_correction import detail, outputs_of
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.models.unguided_correction import spread
from dualsr_geo.training.finetuning.training_pairs import TrainingPair

# Confidence of the one-sided t-test that fitted weights are better, and their least gain, dB.
CONFIDENCE, MIN_GAIN_DB = 0.95, 0.02
# Stands for 0 in a quotient or a logarithm.
TINY = 1e-30


@dataclass(frozen=True)
class HeldOutPixels:
    """The held-out pixels of one window, values divided by the window's largest.

    Attributes
    ----------
    reference, start : array, shape (band, pixel)
    correction : array, shape (band, pixel)
        By the network.
    blocks : array of int, shape (pixel,)
        Numbers of the blocks.
    """

    reference: NDArray[np.float32]
    start: NDArray[np.float32]
    correction: NDArray[np.float32]
    blocks: NDArray[np.int32]

    @property
    def error(self) -> NDArray[np.float32]:
        """Error of the corrected start, (band, pixel)."""
        return self.start + self.correction - self.reference

    def half(self, *, odd: bool) -> HeldOutPixels:
        """Return the blocks of odd or even numbers."""
        chosen = self.blocks % 2 == odd
        return HeldOutPixels(
            self.reference[:, chosen], self.start[:, chosen], self.correction[:, chosen], self.blocks[chosen]
        )

    def shrunk(self, factor: float) -> HeldOutPixels:
        """Return the pixels with the correction times a factor."""
        return replace(self, correction=self.correction * factor)


@dataclass(frozen=True)
class Trial:
    """The corrections of one network on the held-out pixels of all windows, for cross-validation of two halves."""

    windows: tuple[HeldOutPixels, ...]

    def half(self, *, odd: bool) -> list[HeldOutPixels]:
        """Return the blocks of odd or even numbers."""
        return [w.half(odd=odd) for w in self.windows]

    @cached_property
    def shrinkage(self) -> tuple[float, float]:
        """The best shrinkage factors of the correction on the even and on the odd half, 0..1."""
        return _best_shrinkage(self.half(odd=False)), _best_shrinkage(self.half(odd=True))

    def error(self, *, odd: bool) -> float:
        """Return the mean squared error of a half with its own best shrinkage, which `upscale` estimates, too."""
        return mean_squared_error([w.shrunk(self.shrinkage[odd]) for w in self.half(odd=odd)])

    def cross_validated(self, *, odd: bool) -> list[HeldOutPixels]:
        """Return a half with the best shrinkage of the other one."""
        return [w.shrunk(self.shrinkage[not odd]) for w in self.half(odd=odd)]

    @property
    def scores(self) -> Mapping[str, Mapping[str, float]]:
        """PSNR of all held-out blocks, as in `log.Row`."""
        return {"held-out": {"psnr": psnr(self.cross_validated(odd=True) + self.cross_validated(odd=False))}}


def _best_shrinkage(windows: Sequence[HeldOutPixels]) -> float:
    gain = sum(float((w.correction * (w.reference - w.start)).mean(0).sum()) for w in windows)
    size = sum(float((w.correction**2).mean(0).sum()) for w in windows)
    return float(np.clip(gain / max(size, TINY), 0, 1))


def mean_squared_error(windows: Sequence[HeldOutPixels]) -> float:
    """Return the mean squared error of bands and pixels; every pixel counts the same."""
    return float(np.concatenate([(w.error**2).mean(0) for w in windows]).mean(dtype=np.float64))


def psnr(windows: Sequence[HeldOutPixels]) -> float:
    """Return the PSNR relative to each window's largest value, dB."""
    return float(-10 * np.log10(max(mean_squared_error(windows), TINY)))


def spectral_angle(windows: Sequence[HeldOutPixels]) -> float:
    """Return the mean spectral angle, degrees."""
    angles = []
    for w in windows:
        estimate = w.start + w.correction
        size = np.linalg.norm(estimate, axis=0) * np.linalg.norm(w.reference, axis=0)
        angles.append(np.arccos(np.clip((estimate * w.reference).sum(0) / np.maximum(size, TINY), -1, 1)))
    return float(np.rad2deg(np.concatenate(angles).mean()))


def block_squared_errors(windows: Sequence[HeldOutPixels]) -> NDArray[np.float64]:
    """Return the summed squared errors of each block, in the order of their numbers, shape (block,)."""
    errors = np.concatenate([(w.error.astype(np.float64) ** 2).mean(0) for w in windows])
    blocks = np.concatenate([w.blocks for w in windows])
    return np.asarray([errors[blocks == n].sum() for n in np.unique(blocks)])


def score_blocks(network: GuidedNetwork, pairs: Sequence[TrainingPair]) -> Trial:
    """Correct the held-out blocks of the pairs of the scenes' own ratios by a network."""
    with torch.no_grad():
        return Trial(tuple(_correct(network, p) for p in pairs if p.own_ratio))


def _correct(network: GuidedNetwork, pair: TrainingPair) -> HeldOutPixels:
    sample, given = pair.sample, pair.sample.network_input
    change = detail(given, *outputs_of(network, given, pair.ratio))
    mask = pair.held_out > 0
    of_anchors = sample.null_space.part(change, sample.anchors)[:, mask]
    of_bands = spread(pair.inputs.anchors, of_anchors[:, None], slice(None))[:, 0]
    peak = pair.reference.abs().max()
    reference, start, correction = (
        (v / peak).numpy() for v in (pair.reference[:, mask], pair.start[:, mask], of_bands)
    )
    return HeldOutPixels(reference, start, correction, pair.held_out[mask].numpy())


@dataclass(frozen=True)
class Score:
    """PSNR of held-out blocks, and their spectral angle in degrees."""

    psnr: float
    sam: float

    @classmethod
    def of(cls, windows: Sequence[HeldOutPixels]) -> Score:
        """Score the corrected pixels."""
        return cls(psnr(windows), spectral_angle(windows))

    def __str__(self) -> str:
        return f"{self.psnr:.2f} dB {self.sam:.2f} deg"


@dataclass(frozen=True)
class HoldoutResult:
    """Comparison of fitted weights with those before, on the held-out blocks.

    Attributes
    ----------
    start, begin, fitted : Score
        Without a network, with the weights before, and with the fitted ones.
    gain_db, error_db : float
        Mean gain of a block over the weights before, and its standard error. Every block counts the
        same, else a few of large errors would decide.
    blocks : int
    best_step, steps : int
        Step after which the saved weights were taken, and number of steps.
    minutes : float
    """

    start: Score
    begin: Score
    fitted: Score
    gain_db: float
    error_db: float
    blocks: int
    best_step: int
    steps: int
    minutes: float

    @property
    def is_improvement(self) -> bool:
        """Whether the fitted weights are significantly better than those before, and better than no network."""
        chance_db = float(student.ppf(CONFIDENCE, self.blocks - 1)) * self.error_db
        overall_db = self.fitted.psnr - self.begin.psnr
        better = self.gain_db > chance_db and min(overall_db, self.gain_db) > MIN_GAIN_DB
        return better and self.fitted.psnr > self.start.psnr

    def require(self, begin: Path) -> None:
        """Check that the fitted weights are better.

        Raises
        ------
        InputError
            If they are not; the message has all scores.
        """
        if self.is_improvement:
            return
        raise InputError(
            f"Fitted, {begin.name} has {self.fitted.psnr:.2f} dB on {self.blocks} held-out blocks against "
            f"{self.begin.psnr:.2f} dB before, {self.gain_db:+.3f} +- {self.error_db:.3f} dB per block: no gain beyond "
            "chance. Nothing is written; use the shipped weights: leave --model out."
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the result as lines to print."""
        gain = f"mean gain of a block {self.gain_db:.2f} +- {self.error_db:.2f} dB"
        return [
            f"{self.blocks} held-out blocks: start {self.start}, weights before {self.begin}, fitted {self.fitted}",
            f"{gain}; step {self.best_step} of {self.steps}, {self.minutes:.1f} min",
        ]


def score_holdout(trials: Sequence[Trial], steps: Sequence[int], minutes: float) -> tuple[int, HoldoutResult]:
    """Choose the best weights of several steps, and compare them with the first by cross-validation.

    Each half of the blocks is scored with the weights that are best on the other half, so no block
    is used both for choosing and for scoring.

    Parameters
    ----------
    trials : sequence of Trial
        The first is of the weights before the first step.
    steps : sequence of int
        Steps done before each trial.
    minutes : float

    Returns
    -------
    best : int
        Index of the trial that is best on all blocks.
    result : HoldoutResult
    """
    before: list[HeldOutPixels] = []
    after: list[HeldOutPixels] = []
    for odd in (True, False):
        before += trials[0].cross_validated(odd=odd)
        after += trials[_argmin([t.error(odd=not odd) for t in trials])].cross_validated(odd=odd)
    best = _argmin([t.error(odd=True) + t.error(odd=False) for t in trials])
    old_squares, new_squares = (np.maximum(block_squared_errors(w), TINY) for w in (before, after))
    gains_db = 10 * np.log10(old_squares / new_squares)
    start, old, new = (Score.of(windows) for windows in ([w.shrunk(0) for w in before], before, after))
    mean, error = float(gains_db.mean()), float(gains_db.std(ddof=1) / np.sqrt(len(gains_db)))
    return best, HoldoutResult(start, old, new, mean, error, len(gains_db), steps[best], steps[-1], minutes)


def _argmin(errors: Sequence[float]) -> int:
    return min(range(len(errors)), key=errors.__getitem__)
