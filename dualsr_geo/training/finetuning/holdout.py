"""Whether weights fitted to a scene are better there: held-out blocks of its Wald pairs say so."""

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
from torch import nn

from dualsr_geo.errors import InputError
from dualsr_geo.models.guided_correction import AT_ONCE, NetworkInput, detail, without_observed_part
from dualsr_geo.models.unguided_correction import spread
from dualsr_geo.training.finetuning.training_pairs import Pair

# How sure the blocks must be that the weights are better, and by how much at least, dB.
SURE, LEAST_GAIN_DB = 0.95, 0.02
TINY = 1e-30


@dataclass(frozen=True)
class HeldOutBlock:
    """The held-out pixels of one window, values divided by the window's largest.

    Attributes
    ----------
    reference, start : array, shape (band, pixel)
    made : array, shape (band, pixel)
        The network's correction.
    blocks : array of int, shape (pixel,)
    """

    reference: NDArray[np.float32]
    start: NDArray[np.float32]
    made: NDArray[np.float32]
    blocks: NDArray[np.int32]

    @property
    def wrong(self) -> NDArray[np.float32]:
        """What is wrong with the corrected start, (band, pixel)."""
        return self.start + self.made - self.reference

    def half(self, *, odd: bool) -> HeldOutBlock:
        """Return the blocks of odd or even numbers."""
        some = self.blocks % 2 == odd
        return HeldOutBlock(self.reference[:, some], self.start[:, some], self.made[:, some], self.blocks[some])

    def times(self, share: float) -> HeldOutBlock:
        """Return a share of the correction."""
        return replace(self, made=self.made * share)


@dataclass(frozen=True)
class Trial:
    """A network at work on held-out blocks, two halves of which advise each other."""

    held: tuple[HeldOutBlock, ...]

    def half(self, *, odd: bool) -> list[HeldOutBlock]:
        """Return the blocks of odd or even numbers."""
        return [h.half(odd=odd) for h in self.held]

    @cached_property
    def shares(self) -> tuple[float, float]:
        """The shares of the correction that would be best on the even half and on the odd one, 0..1."""
        return _share(self.half(odd=False)), _share(self.half(odd=True))

    def error(self, *, odd: bool) -> float:
        """Return the mean squared error of a half, corrected by its own best share, as `upscale` would."""
        return mean_square([h.times(self.shares[odd]) for h in self.half(odd=odd)])

    def judged(self, *, odd: bool) -> list[HeldOutBlock]:
        """Return a half, corrected by the share that is best on the other one."""
        return [h.times(self.shares[not odd]) for h in self.half(odd=odd)]

    @property
    def told(self) -> Mapping[str, Mapping[str, float]]:
        """PSNR of all held-out blocks, for a line of progress."""
        return {"held-out": {"psnr": psnr(self.judged(odd=True) + self.judged(odd=False))}}


def _share(held: Sequence[HeldOutBlock]) -> float:
    gain = sum(float((h.made * (h.reference - h.start)).mean(0).sum()) for h in held)
    size = sum(float((h.made**2).mean(0).sum()) for h in held)
    return float(np.clip(gain / max(size, TINY), 0, 1))


def mean_square(held: Sequence[HeldOutBlock]) -> float:
    """Return the mean squared error of bands and pixels; every pixel counts the same."""
    return float(np.concatenate([(h.wrong**2).mean(0) for h in held]).mean(dtype=np.float64))


def psnr(held: Sequence[HeldOutBlock]) -> float:
    """Return the PSNR against each window's largest value, dB."""
    return float(-10 * np.log10(max(mean_square(held), TINY)))


def angle(held: Sequence[HeldOutBlock]) -> float:
    """Return the mean spectral angle, degrees."""
    angles = []
    for h in held:
        made = h.start + h.made
        size = np.linalg.norm(made, axis=0) * np.linalg.norm(h.reference, axis=0)
        angles.append(np.arccos(np.clip((made * h.reference).sum(0) / np.maximum(size, TINY), -1, 1)))
    return float(np.rad2deg(np.concatenate(angles).mean()))


def squares(held: Sequence[HeldOutBlock]) -> NDArray[np.float64]:
    """Return the summed squared errors of each block, in the order of their numbers, shape (block,)."""
    each = np.concatenate([(h.wrong.astype(np.float64) ** 2).mean(0) for h in held])
    blocks = np.concatenate([h.blocks for h in held])
    return np.asarray([each[blocks == n].sum() for n in np.unique(blocks)])


def score_blocks(network: nn.Module, pairs: Sequence[Pair]) -> Trial:
    """Let a network correct the held-out blocks of the pairs of the scenes' own ratios."""
    with torch.no_grad():
        return Trial(tuple(_held(network, p) for p in pairs if p.own))


def _held(network: nn.Module, pair: Pair) -> HeldOutBlock:
    one = pair.prepared
    made = []
    for first in range(0, len(one.anchors), AT_ONCE):
        rows = slice(first, first + AT_ONCE)
        s = one.seen
        seen = NetworkInput(s.planes[rows], s.constants[rows], s.others[rows], s.weights[rows], s.error[rows])
        answer = network(seen.planes, seen.constants, pair.ratio)
        made.append(without_observed_part(one.window, one.terms, detail(seen, *answer), one.anchors[rows]))
    some = pair.held > 0
    corrections = torch.cat(made)[:, some]
    bands = spread(one.terms.anchors, corrections[:, None], slice(None))[:, 0]
    peak = pair.reference.abs().max()
    reference, start, added = ((v / peak).numpy() for v in (pair.reference[:, some], pair.start[:, some], bands))
    return HeldOutBlock(reference, start, added, pair.held[some].numpy())


@dataclass(frozen=True)
class Score:
    """PSNR of held-out blocks, and their spectral angle in degrees."""

    psnr: float
    sam: float

    @classmethod
    def of(cls, held: Sequence[HeldOutBlock]) -> Score:
        """Score what was made."""
        return cls(psnr(held), angle(held))

    def __str__(self) -> str:
        return f"{self.psnr:.2f} dB {self.sam:.2f} deg"


@dataclass(frozen=True)
class HoldoutResult:
    """What the held-out blocks say.

    Attributes
    ----------
    start, begin, fitted : Score
        Without a network, with the weights that it began with, and with those fitted.
    gain_db, error_db : float
        By how much blocks are better than with the weights before, mean and its standard error. Every
        block counts the same, since a few of large errors would leave all to chance.
    blocks : int
    best_step, steps : int
        After which step the saved weights were taken, of how many.
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
    def holds(self) -> bool:
        """Whether the fitted weights are better beyond chance, and better than no network."""
        least = float(student.ppf(SURE, self.blocks - 1)) * self.error_db
        more = self.fitted.psnr - self.begin.psnr
        return self.gain_db > least and min(more, self.gain_db) > LEAST_GAIN_DB and self.fitted.psnr > self.start.psnr

    def require(self, begin: Path) -> None:
        """Raise InputError, with all scores, unless the fitted weights are better."""
        if self.holds:
            return
        raise InputError(
            f"Fitted, {begin.name} has {self.fitted.psnr:.2f} dB on {self.blocks} held-out blocks against "
            f"{self.begin.psnr:.2f} dB before, {self.gain_db:+.3f} +- {self.error_db:.3f} dB a block: no gain beyond "
            "chance. Nothing is written; use the shipped weights: leave --model out."
        )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return what a person wants to know."""
        gained = f"a block is better by {self.gain_db:.2f} +- {self.error_db:.2f} dB"
        return [
            f"{self.blocks} held-out blocks: start {self.start}, weights before {self.begin}, fitted {self.fitted}",
            f"{gained}; step {self.best_step} of {self.steps}, {self.minutes:.1f} min",
        ]


def score_holdout(trials: Sequence[Trial], steps: Sequence[int], minutes: float) -> tuple[int, HoldoutResult]:
    """Choose among the weights of several steps, and say how much better they are than the first.

    Each half of the blocks is judged at the step that is best on the other half, so that no block
    has a say in what it judges.

    Parameters
    ----------
    trials : sequence of Trial
        The first is of the weights that were begun with.
    steps : sequence of int
        After which they were taken.
    minutes : float

    Returns
    -------
    chosen : int
        The trial that is best on all blocks.
    verdict : HoldoutResult
    """
    before: list[HeldOutBlock] = []
    after: list[HeldOutBlock] = []
    for odd in (True, False):
        before += trials[0].judged(odd=odd)
        after += trials[_best([t.error(odd=not odd) for t in trials])].judged(odd=odd)
    chosen = _best([t.error(odd=True) + t.error(odd=False) for t in trials])
    gains = 10 * np.log10(np.maximum(squares(before), TINY) / np.maximum(squares(after), TINY))
    start, old, new = (Score.of(held) for held in ([h.times(0) for h in before], before, after))
    mean, error = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))
    return chosen, HoldoutResult(start, old, new, mean, error, len(gains), steps[chosen], steps[-1], minutes)


def _best(errors: Sequence[float]) -> int:
    return min(range(len(errors)), key=errors.__getitem__)
