"""The learned models, in which two small networks correct the training-free start.

`auto` shrinks the correction by factors that are estimated on the scene's Wald pairs, `learned` uses it fully.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualsr_geo.degradation.consistency import consistency
from dualsr_geo.errors import OptionError
from dualsr_geo.fusion.blocks import guided_pixels, stack
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.spectra import DetailPlanes
from dualsr_geo.fusion.wald.pairs import WaldPair
from dualsr_geo.fusion.wald.scene_sample import CommonEstimates, FilledSample
from dualsr_geo.models import correction, guided_shrinkage, unguided_shrinkage
from dualsr_geo.models.correction import CorrectionState, LearnedCorrection, PairEvidence
from dualsr_geo.models.definition import Model
from dualsr_geo.models.guided_inputs import GuidedInputs, GuidedWindow
from dualsr_geo.models.guided_shrinkage import guided_window
from dualsr_geo.models.loading import guided_network, unguided_network
from dualsr_geo.models.methods._guard import guard, guarded_block
from dualsr_geo.models.methods._spectral import restored, spectral_window
from dualsr_geo.models.methods.regression import RegressionState, estimate_regression, regression_notes
from dualsr_geo.models.reconstruction import Reconstruction, SpectralReconstruction, WindowInputs
from dualsr_geo.models.unguided_correction import UnguidedInputs, observed
from dualsr_geo.models.weights import PRECISIONS, SHIPPED, Weights, weights_of

# Smallest shrinkage factor; the gain of a smaller one is not worth the time of the network.
MIN_FACTOR = 0.05
# Number of float32 planes on the hr grid that a tile keeps: for four anchors the network's inputs, features and
# outputs.
LEARNED_PLANES = 250


@dataclass(frozen=True)
class LearnedState:
    """Estimates of a learned model for the whole scene.

    Attributes
    ----------
    regression : RegressionState or None
        Of the start; None without a guide.
    correction : CorrectionState
        Inputs of the networks, and shrinkage factors of their corrections.
    """

    regression: RegressionState | None
    correction: CorrectionState


@dataclass(frozen=True)
class Learned(Model):
    """Correct the start of `regression` with a guide, and that of `interpolation` without.

    Attributes
    ----------
    correction : LearnedCorrection
        The networks.
    """

    correction: LearnedCorrection = field(kw_only=True)

    state_type = LearnedState

    # ---- configuration ---------------------------------------------------------------------

    def configured(self, *, published: bool, precision: str) -> Self:
        """Return the model with the networks of the package."""
        if published:
            return super().configured(published=published, precision=precision)
        # The unguided network stays in float32: in bfloat16 it differs by 8e-3 of the range, and it is fast anyway.
        guided = weights_of(SHIPPED / "guided.safetensors", precision=precision)
        return self.with_networks(guided, weights_of(SHIPPED / "unguided.safetensors"))

    def with_networks(self, guided: Weights, unguided: Weights) -> Self:
        """Return the model with these networks."""
        networks = replace(self.correction, guided=guided, unguided=unguided)
        return replace(self, correction=networks, halo=max(guided.halo, unguided.halo))

    def with_orientations(self, count: int) -> Self:
        """Return the model whose unguided network is averaged over flips and quarter turns."""
        return replace(self, correction=replace(self.correction, orientations=count))

    @property
    def identity(self) -> dict[str, object]:
        """Identity of the correction; the key is that of run records."""
        return {"ours": self.correction.identity}

    @property
    def record(self) -> dict[str, Any]:
        """All that the model promises; the networks stand under the key of run records."""
        networks = {name: asdict(weights) for name, weights in self.networks.items()}
        own = {"gated": self.correction.shrinks, "guided": None, "alone": None, **networks}
        return {**{k: v for k, v in super().record.items() if k != "correction"}, "ours": own}

    @property
    def networks(self) -> dict[str, Weights]:
        """The weights of both networks, by their ids."""
        return self.correction.weights

    def for_trial(self) -> Self:
        """Return the model without shrinkage, because a Wald pair is corrected with the factors of the scene."""
        return replace(self, correction=replace(self.correction, shrinks=False))

    # ---- the scene -------------------------------------------------------------------------

    def estimate(self, sample: FilledSample, common: CommonEstimates) -> LearnedState:
        """Fit the regressions, the inputs of the networks, and their shrinkage factors."""
        regression = estimate_regression(common)
        guided: GuidedInputs | None = None
        guided_evidence: tuple[PairEvidence, ...] = ()
        if regression is not None:
            guided, guided_evidence = self._guided(common, regression.fit)
        unguided, unguided_evidence = self._unguided(sample, common, guided=guided is not None)
        return LearnedState(regression, CorrectionState(guided, unguided, guided_evidence, unguided_evidence))

    def _guided(self, common: CommonEstimates, fit: GuideFit) -> tuple[GuidedInputs, tuple[PairEvidence, ...]]:
        """Return the inputs of the guided network with the shrinkage factor, and the evidence for it."""
        space = common.statistics.space
        inputs = GuidedInputs.of(space, fit, *guided_pixels(common.blocks, common.psf), common.anchors)
        if not self.correction.shrinks:
            return inputs, ()
        assert self.correction.guided is not None
        assert common.noisy_pairs is not None
        network, pairs = guided_network(self.correction.guided, "cpu"), common.noisy_pairs
        with torch.inference_mode():
            evidence = {r: guided_shrinkage.evidence_on(network, pairs.of_ratio(r), fit) for r in pairs.ratios}
            strength = guided_shrinkage.strength_on_scene(network, common.blocks, common.psf, space, fit, inputs)
        # A correction of zero has no excess.
        excess = {r: strength / e.strength if strength and e.strength else 1.0 for r, e in evidence.items()}
        records = tuple(PairEvidence(r, e.best, e.error, excess[r]) for r, e in evidence.items())
        factor = guided_shrinkage.guided_shrinkage_factor(list(evidence.values()), strength)
        return replace(inputs, share=_worthwhile(factor)), records

    def _unguided(
        self, sample: FilledSample, common: CommonEstimates, *, guided: bool
    ) -> tuple[UnguidedInputs, tuple[PairEvidence, ...]]:
        """Return the inputs of the unguided network with the shrinkage factor, and the evidence for it."""
        space, noise = common.statistics.space, common.statistics.noise
        spectra, weight = stack([c for c, _ in sample.filled]), stack([w for _, w in sample.filled])
        count = () if common.anchors is None else (common.anchors,)
        inputs = UnguidedInputs.of(space, spectra, weight, noise, *count)
        if not self.correction.shrinks:
            return inputs, ()
        if guided and sample.is_covered:
            # The sample has no place without a guide on which the factor could be estimated.
            return replace(inputs, share=guided_shrinkage.PRIOR.mean), ()
        assert self.correction.unguided is not None
        network = unguided_network(self.correction.unguided, "cpu")
        with torch.inference_mode():
            evidence = unguided_shrinkage.evidence_of_scales(network, sample.filled, common.psf, space, noise)
        record = PairEvidence(unguided_shrinkage.RATIO, evidence.best, evidence.error, evidence.excess)
        factor = _worthwhile(unguided_shrinkage.unguided_shrinkage_factor(evidence))
        return replace(inputs, share=factor), (record,)

    def reads_guide(self, state: LearnedState | None) -> bool:
        """Return whether there are regressions on the guide."""
        return state is not None and state.regression is not None

    def guide_fit(self, state: LearnedState | None) -> GuideFit | None:
        """Return the regressions of the scene."""
        return None if state is None or state.regression is None else state.regression.fit

    def notes(self, state: LearnedState | None) -> tuple[str, ...]:
        """Return notes on the guide; see `regression_notes`."""
        return regression_notes(None if state is None else state.regression)

    def with_shrinkage_of(self, state: LearnedState, other: LearnedState) -> LearnedState:
        """Return a state with the shrinkage factors of another."""
        own, others = state.correction, other.correction
        guided = own.guided
        if guided is not None:
            guided = replace(guided, share=0.0 if others.guided is None else others.guided.share)
        unguided = replace(own.unguided, share=others.unguided.share)
        return replace(state, correction=replace(own, guided=guided, unguided=unguided))

    def provenance(self, state: LearnedState | None) -> Mapping[str, Any]:
        """Return the shrinkage factors and the evidence for them, by network id."""
        if state is None:
            return {}
        corrections = state.correction
        factors: dict[str, tuple[float, Sequence[PairEvidence]]] = {}
        if corrections.guided is not None:
            factors["guided"] = corrections.guided.share, corrections.guided_evidence
        # With a guide, the unguided network is recorded only if some of the sample is outside the guide.
        if corrections.guided is None or corrections.unguided_evidence:
            factors["alone"] = corrections.unguided.share, corrections.unguided_evidence
        records = {
            name: {"share": round(share, 3), "wald_pairs": [e.record() for e in evidence]}
            for name, (share, evidence) in factors.items()
        }
        return {"correction": records}

    # ---- the window ------------------------------------------------------------------------

    def reconstruct(self, inputs: WindowInputs, state: LearnedState) -> Reconstruction:
        """Sharpen a window, and correct the result."""
        regression = state.regression
        fitted = (None, None) if regression is None else regression.start
        start = spectral_window(inputs, *fitted, is_corrected=True)
        detail = self._detail(inputs, start, state)
        return guard(replace(start, spectra=replace(start.spectra, added=detail)), inputs)

    def _detail(
        self, inputs: WindowInputs, reconstruction: SpectralReconstruction, state: LearnedState
    ) -> tuple[DetailPlanes, ...]:
        """Return the corrections of a window's start."""
        start, window = reconstruction.start, None
        assert start is not None
        if start.guided is not None:
            origin = (inputs.window.y0, inputs.window.x0)
            window = GuidedWindow(
                inputs.statistics.space, inputs.cube, start.components, start.hr, start.guided, inputs.psf,
                start.closed, inputs.weight, origin,
            )  # fmt: skip
        plain, core = inputs.plain_closed_form(len(inputs.cube)), inputs.part.scaled(inputs.ratio)
        return correction.learned_detail(
            self.correction, state.correction, window, inputs.observed, inputs.weight, inputs.psf, plain, core
        )

    def restore(self, pair: WaldPair, state: LearnedState) -> list[Tensor]:
        """Return the sharpened blocks of a Wald pair, corrected with the factors of the scene."""
        fit = self.guide_fit(state)
        corrections = self._corrections_on(pair, fit, state.correction)
        out = []
        for block, (spectra, start) in zip(pair.blocks, restored(pair, fit), strict=True):
            window = None if fit is None else guided_window(block, start, pair.blur, pair.space)
            op, bands = start.closed.operator, len(block.cube)
            plain = consistency(pair.blur, block.shape, [0.0] * bands, op)
            lr = observed(pair.space, block.cube, start.components)
            core = correction.whole_core(block.shape, pair.ratio)
            detail = correction.learned_detail(
                self.correction, corrections, window, lr, start.weight, pair.blur, plain, core
            )
            sharpened = replace(spectra, added=detail).bands(slice(None))
            out.append(guarded_block(sharpened, block.cube, pair.space) if fit is None else sharpened)
        return out

    def _corrections_on(self, pair: WaldPair, fit: GuideFit | None, scene: CorrectionState) -> CorrectionState:
        """Return the inputs of the networks on a Wald pair, with the scene's number of anchors and factors."""
        unguided, guided = scene.unguided, None
        count = len(unguided.anchors.bands)
        inputs = UnguidedInputs.of(pair.space, pair.spectra, pair.weight, self._noise(pair, unguided), count)
        if fit is not None and scene.guided is not None:
            count = len(scene.guided.anchors.bands)
            pair_fit = pair.guide_fit(fit.weights)
            guided = GuidedInputs.of(pair.space, pair_fit, pair.spectra, pair.guide, pair.weight, count)
            guided = replace(guided, share=scene.guided.share)
        return CorrectionState(guided, replace(inputs, share=unguided.share))

    @staticmethod
    def _noise(pair: WaldPair, scene: UnguidedInputs) -> NDArray[np.floating]:
        """Return the noise of a Wald pair's bands, which is that of the scene averaged by the blur."""
        return scene.levels.noise * pair.blur.gain


def _worthwhile(factor: float) -> float:
    """Return the factor, or 0 below `MIN_FACTOR`."""
    return factor if factor >= MIN_FACTOR else 0.0


def with_own_network(path: Path, weights: Weights, licence: str) -> Learned:
    """Return `auto` with other weights for one of its networks.

    Raises
    ------
    OptionError
        If a published network is requested.
    """
    if weights.published:
        raise OptionError(f"--published is for published networks, and {path} holds `{weights.network}`. Leave it out.")
    model = AUTO.configured(published=False, precision=weights.precision)
    networks = model.correction
    assert networks.guided is not None
    assert networks.unguided is not None
    named = replace(model, name=path.stem, summary=f"`auto` with {weights.network} from this file.", licence=licence)
    if weights.network == "alone":
        return named.with_networks(networks.guided, replace(weights, precision=PRECISIONS[0]))
    return named.with_networks(weights, networks.unguided)


AUTO = Learned(
    "auto",
    "As `learned`, with a correction that the scene's Wald pairs shrink; the default.",
    spectral=True,
    fine="consistency",
    halo=18,
    planes=LEARNED_PLANES,
    seconds_per_million=(0.86, 0.23),
    correction=LearnedCorrection(shrinks=True),
)
LEARNED = replace(
    AUTO,
    name="learned",
    summary="Our networks correct `regression` with a guide, and `interpolation` without.",
    correction=LearnedCorrection(shrinks=False),
)
