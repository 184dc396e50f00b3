"""The model of a trained network that sharpens a scene band by band: CoarSR, CoarseNet and others."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.fusion.wald.scene_sample import CommonEstimates, FilledSample
from dualsr_geo.models.architectures import architecture_of
from dualsr_geo.models.band_stream import SceneWindow, Stream, Units, guide_units, scene_angle_weight, scene_units
from dualsr_geo.models.definition import Model
from dualsr_geo.models.reconstruction import Reconstruction, WindowInputs, band_by_band, interpolated
from dualsr_geo.models.weights import Card, Weights, read_card, weights_of
from dualsr_geo.raster.windows import Window


@dataclass(frozen=True)
class NetworkState:
    """Estimates of a network for the whole scene.

    Attributes
    ----------
    units : Units
        Physical values of 0 and 1 in the network.
    angle : float or None
        Weight of DualSR's fine stage; None without that stage.
    """

    units: Units
    angle: float | None = None


@dataclass(frozen=True)
class BandNetworkModel(Model):
    """A network with its weights.

    Attributes
    ----------
    weights : Weights
    half : Weights or None
        Weights of the same network for half the ratio, for the fine stage ``"backprojection"`` above ratio 2.
    """

    weights: Weights = field(kw_only=True)
    half: Weights | None = field(default=None, kw_only=True)

    state_type = NetworkState

    @classmethod
    def of(cls, path: Path, card: Card, *, published: bool, precision: str) -> Self:
        """Return the model of a weights file."""
        architecture = architecture_of(card.network)
        weights = weights_of(path, published=published, precision=precision)
        return cls(
            path.stem,
            f"{card.network}, {card.ratio}x, {card.width} features, from {card.source or 'training here'}.",
            guided=card.guide_bands > 0,
            needs_guide=card.guide_bands > 0,
            halo=card.halo,
            halo_covers_fine=False,
            ratios=(card.ratio, card.ratio),
            block=card.block,
            planes=architecture.planes(card.width, card.ratio),
            streams_bands=True,
            seconds_per_million=(20.0, 20.0),
            licence=card.licence,
            sha256=weights.sha256,
            weights=weights,
        )

    # ---- configuration ---------------------------------------------------------------------

    def configured(self, *, published: bool, precision: str) -> Self:
        """Return the model with these options applied to its network."""
        return replace(self, weights=replace(self.weights, published=published, precision=precision))

    def with_half(self, path: str | os.PathLike[str] | None, fine: str) -> Self:
        """Return the model with weights of half its ratio; see `Model.with_half`.

        Raises
        ------
        OptionError
            If the weights are missing, or are given and not needed.
        InputError
            If they are of another network or ratio.
        """
        if fine != "backprojection" or self.weights.ratio <= 2:
            return super().with_half(path, fine)
        return replace(self, half=self._half(path))

    def _half(self, path: str | os.PathLike[str] | None) -> Weights:
        own = self.weights
        if own.ratio % 2:
            raise OptionError(
                f"--fine backprojection needs the result of half the ratio too, and {own.ratio} has no half. "
                "Give --fine none or consistency."
            )
        ratio = own.ratio // 2
        if path is None:
            raise OptionError(
                f"--fine backprojection of ratio {own.ratio} needs the result of ratio {ratio} too. "
                f"Give weights of {own.network} for ratio {ratio} as --half-model."
            )
        if not Path(path).is_file():
            raise InputError(
                f"--half-model {path} is no weights file. Give weights of {own.network} for ratio {ratio}."
            )
        card = read_card(path)
        if (card.network, card.ratio, card.guide_bands) != (own.network, ratio, own.guide_bands):
            raise InputError(
                f"--half-model {path} holds {card.network} of ratio {card.ratio}. "
                f"Give weights of {own.network} for ratio {ratio}."
            )
        return weights_of(Path(path), published=own.published, precision=own.precision)

    def require_inputs(self, bands: int, guide_bands: int | None) -> None:
        """Check the numbers of bands of the scene and of the guide; see `Model.require_inputs`."""
        super().require_inputs(bands, guide_bands)
        min_bands = architecture_of(self.weights.network).min_bands
        if bands < min_bands:
            raise InputError(
                f"The network `{self.weights.network}` reads {min_bands} bands at a time, the scene has {bands} with data. "
                f"Give {min_bands} or more, or another --model."
            )
        trained = self.weights.guide_bands
        if trained and guide_bands is not None and guide_bands != trained:
            raise InputError(
                f"The guide has {guide_bands} band{'s' * (guide_bands != 1)}, the weights of `{self.name}` were trained "
                f"for {trained}. Give --rgb a guide of {trained}, or other weights as --model."
            )

    @property
    def identity(self) -> dict[str, object]:
        """Identities of the weights; the keys are those of run records."""
        each = {"weights": self.weights, "half_weights": self.half}
        return {name: weights.identity for name, weights in each.items() if weights is not None}

    # ---- the scene -------------------------------------------------------------------------

    def estimate(self, sample: FilledSample, common: CommonEstimates) -> NetworkState:
        """Return the network's units, and the angle that is the weight of DualSR's fine stage.

        Raises
        ------
        InputError
            If the bands with data do not fit the weights.
        """
        cubes = [cube for cube, _ in sample.filled]
        self.require_inputs(len(common.statistics.used), len(sample.guides[0]) if sample.guides else None)
        units = Units.of(cubes, sample.guides, whole=len(cubes) == 1)
        return NetworkState(units, self._angle(cubes, common, units) if common.fine == "backprojection" else None)

    def _angle(self, cubes: Sequence[Tensor], common: CommonEstimates, units: Units) -> float:
        guides: list[Tensor | None] = [None] * len(cubes)
        if self.guided:
            cubes = [b.cube for b in common.blocks]
            guides = [guide_units(b.guide, units) for b in common.blocks]
        places = [SceneWindow(Window(0, c.shape[1], 0, c.shape[2]), (c.shape[1], c.shape[2])) for c in cubes]
        with torch.inference_mode():
            return scene_angle_weight(self.weights, self.half, [scene_units(c, units) for c in cubes], guides, places)

    # ---- the window ------------------------------------------------------------------------

    def reconstruct(self, inputs: WindowInputs, state: NetworkState) -> Reconstruction:
        """Sharpen a window band by band; outside the guide of a guided network it is interpolated."""
        if self.guided and inputs.guide is None:
            if not inputs.consistent:
                return interpolated(inputs)
            return band_by_band(inputs, lambda lr, _: inputs.operator.upsample(lr))
        stream, blend = self._stream(inputs, state), inputs.blend

        def sharpened(lr: Tensor, rows: slice) -> Tensor:
            bands = stream.take(rows)
            return bands if blend is None else torch.lerp(inputs.operator.upsample(lr), bands, blend)

        return band_by_band(inputs, sharpened)

    def _stream(self, inputs: WindowInputs, state: NetworkState) -> Stream:
        guide = None if inputs.guide is None else inputs.guide.values
        place = SceneWindow(inputs.window, inputs.shape)
        weight = state.angle if inputs.fine == "backprojection" else None
        return Stream(self.weights, self.half, state.units, weight, inputs.cube, guide, place)
