"""The learned models: two small networks correct the training-free start.

`auto` uses as much of the correction as the scene's own Wald pairs support, `learned` all of it.
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
from dualsr_geo.models.guided_correction import GuidedWindow
from dualsr_geo.models.guided_inputs import GuidedInputs
from dualsr_geo.models.guided_shrinkage import guided_window
from dualsr_geo.models.loading import guided_network, unguided_network
from dualsr_geo.models.methods._spectral import restored, spectral_window
from dualsr_geo.models.methods.regression import RegressionState, estimate_regression
from dualsr_geo.models.reconstruction import Reconstruction, SpectralReconstruction, WindowInputs
from dualsr_geo.models.unguided_correction import UnguidedInputs, observed
from dualsr_geo.models.weights import PRECISIONS, SHIPPED, Weights, weights_of

# A correction of a smaller factor is not worth its time.
MIN_FACTOR = 0.05
# Planes of float32 on the hr grid that a tile keeps: four anchors at once, each with what the network reads, its
# features and its answer.
LEARNED_PLANES = 250


@dataclass(frozen=True)
class LearnedState:
    """What a learned model takes from the whole scene.

    Attributes
    ----------
    regression : RegressionState or None
        Of the start; None without a guide.
    correction : CorrectionState
        What the networks read of the scene, and how far their correction is shrunk.
    """

    regression: RegressionState | None
    correction: CorrectionState


@dataclass(frozen=True)
class Learned(Model):
    """Correct `regression` where a guide is, and `interpolation` where none is.

    Attributes
    ----------
    correction : LearnedCorrection
        The networks.
    """

    correction: LearnedCorrection = field(kw_only=True)

    state_type = LearnedState

    # ---- configuration ---------------------------------------------------------------------

    def configured(self, *, published: bool, precision: str) -> Self:
        """Return the model with the networks that come with the package."""
        if published:
            return super().configured(published=published, precision=precision)
        # In bfloat16 the network without a guide differs by 8e-3 of the range; it is fast as it is.
        guided = weights_of(SHIPPED / "guided.safetensors", precision=precision)
        return self.with_networks(guided, weights_of(SHIPPED / "unguided.safetensors"))

    def with_networks(self, guided: Weights, unguided: Weights) -> Self:
        """Return the model with these networks."""
        networks = replace(self.correction, guided=guided, unguided=unguided)
        return replace(self, correction=networks, halo=max(guided.halo, unguided.halo))

    @property
    def identity(self) -> dict[str, object]:
        """The networks, and whether they are shrunk; the key is that of run records."""
        return {"ours": self.correction.identity}

    @property
    def record(self) -> dict[str, Any]:
        """All that the model promises; the networks stand under the key of run records."""
        networks = {name: asdict(weights) for name, weights in self.networks.items()}
        own = {"gated": self.correction.shrinks, "guided": None, "alone": None, **networks}
        return {**{k: v for k, v in super().record.items() if k != "correction"}, "ours": own}

    @property
    def networks(self) -> dict[str, Weights]:
        """The weights of both networks."""
        return self.correction.weights

    def for_trial(self) -> Self:
        """Return the model without shrinkage: a trial takes the factors of the scene."""
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
        """Return the inputs of the guided network with their shrinkage factor, and what that rests on."""
        space = common.statistics.space
        inputs = GuidedInputs.of(space, fit, *guided_pixels(common.blocks, common.psf), common.anchors)
        if not self.correction.shrinks:
            return inputs, ()
        assert self.correction.guided is not None
        assert common.pairs is not None
        network, pairs = guided_network(self.correction.guided, "cpu"), common.pairs
        with torch.inference_mode():
            evidence = {r: guided_shrinkage.evidence_on(network, pairs.of_ratio(r), fit) for r in pairs.ratios}
            strength = guided_shrinkage.strength_on_scene(network, common.blocks, common.psf, space, fit, inputs)
        # Where there is no correction it is neither stronger nor weaker.
        excess = {r: strength / e.strength if strength and e.strength else 1.0 for r, e in evidence.items()}
        basis = tuple(PairEvidence(r, e.best, e.error, excess[r]) for r, e in evidence.items())
        factor = guided_shrinkage.guided_shrinkage_factor(list(evidence.values()), strength)
        return replace(inputs, share=_worthwhile(factor)), basis

    def _unguided(
        self, sample: FilledSample, common: CommonEstimates, *, guided: bool
    ) -> tuple[UnguidedInputs, tuple[PairEvidence, ...]]:
        """Return the inputs of the unguided network with their shrinkage factor, and what that rests on."""
        space, noise = common.statistics.space, common.statistics.noise
        spectra, weight = stack([c for c, _ in sample.filled]), stack([w for _, w in sample.filled])
        count = () if common.anchors is None else (common.anchors,)
        inputs = UnguidedInputs.of(space, spectra, weight, noise, *count)
        if not self.correction.shrinks:
            return inputs, ()
        if guided and sample.is_covered:
            # All of the sample has a guide, so that nothing shows what the network is worth elsewhere.
            return replace(inputs, share=guided_shrinkage.PRIOR.mean), ()
        assert self.correction.unguided is not None
        network = unguided_network(self.correction.unguided, "cpu")
        with torch.inference_mode():
            evidence = unguided_shrinkage.evidence_of_scales(network, sample.filled, common.psf, space, noise)
        basis = PairEvidence(unguided_shrinkage.RATIO, evidence.best, evidence.error, evidence.excess)
        factor = _worthwhile(unguided_shrinkage.unguided_shrinkage_factor(evidence))
        return replace(inputs, share=factor), (basis,)

    def reads_guide(self, state: LearnedState | None) -> bool:
        """Return whether there are regressions on the guide."""
        return state is not None and state.regression is not None

    def guide_fit(self, state: LearnedState | None) -> GuideFit | None:
        """Return the regressions of the scene."""
        return None if state is None or state.regression is None else state.regression.fit

    def with_shrinkage_of(self, state: LearnedState, other: LearnedState) -> LearnedState:
        """Return a state whose corrections are shrunk as in another."""
        own, others = state.correction, other.correction
        guided = own.guided
        if guided is not None:
            guided = replace(guided, share=0.0 if others.guided is None else others.guided.share)
        unguided = replace(own.unguided, share=others.unguided.share)
        return replace(state, correction=replace(own, guided=guided, unguided=unguided))

    def provenance(self, state: LearnedState | None) -> Mapping[str, Any]:
        """Return the shrinkage factors and what they rest on, by network id."""
        if state is None:
            return {}
        corrections = state.correction
        used: dict[str, tuple[float, Sequence[PairEvidence]]] = {}
        if corrections.guided is not None:
            used["guided"] = corrections.guided.share, corrections.guided_evidence
        # With a guide only where some of the scene is without it.
        if corrections.guided is None or corrections.unguided_evidence:
            used["alone"] = corrections.unguided.share, corrections.unguided_evidence
        records = {
            name: {"share": round(share, 3), "wald_pairs": [e.record() for e in evidence]}
            for name, (share, evidence) in used.items()
        }
        return {"correction": records}

    # ---- the window ------------------------------------------------------------------------

    def reconstruct(self, inputs: WindowInputs, state: LearnedState) -> Reconstruction:
        """Sharpen a window and correct it."""
        regression = state.regression
        fitted = (None, None) if regression is None else (regression.fit, regression.ridges)
        start = spectral_window(inputs, *fitted)
        detail = self._detail(inputs, start, state)
        return replace(start, spectra=replace(start.spectra, added=detail))

    def _detail(
        self, inputs: WindowInputs, made: SpectralReconstruction, state: LearnedState
    ) -> tuple[DetailPlanes, ...]:
        start, window = made.start, None
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
        """Sharpen the blocks of a Wald pair and correct them by as much as the scene."""
        fit = self.guide_fit(state)
        corrections = self._corrections_on(pair, fit, state.correction)
        out = []
        for block, (spectra, start) in zip(pair.blocks, restored(pair, fit), strict=True):
            window = None if fit is None else guided_window(block, start, pair.blur, pair.space)
            op, bands = start.closed.operator, len(block.cube)
            plain = consistency(pair.blur, block.shape, [0.0] * bands, op)
            seen = observed(pair.space, block.cube, start.components)
            core = correction.whole_core(block.shape, pair.ratio)
            detail = correction.learned_detail(
                self.correction, corrections, window, seen, start.weight, pair.blur, plain, core
            )
            out.append(replace(spectra, added=detail).bands(slice(None)))
        return out

    def _corrections_on(self, pair: WaldPair, fit: GuideFit | None, scene: CorrectionState) -> CorrectionState:
        """Return the inputs of the networks on a Wald pair, with as many anchors and the factors of the scene."""
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
        """Return the noise of a Wald pair's bands: degrading averages that of the scene."""
        return scene.levels.noise * pair.blur.gain


def _worthwhile(factor: float) -> float:
    return factor if factor >= MIN_FACTOR else 0.0


def with_own_network(path: Path, weights: Weights, licence: str) -> Learned:
    """Return `auto` with other weights for one of its networks.

    Raises
    ------
    OptionError
        If a published network is wanted.
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
    "As `learned`, by as much as the scene's own Wald pair allows; the default.",
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
    summary="Our networks correct `regression` where a guide is, and `interpolation` where none is.",
    correction=LearnedCorrection(shrinks=False),
)
