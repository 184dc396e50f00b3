"""The interface of a model: its requirements, its estimates for a scene, and the reconstruction of a window.

A model is a subclass of `Model` in one file. The registry finds it by name, in this package or by an
entry point of the group ``dualsr_geo.models``. No code outside its file depends on which model a run uses.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

from torch import Tensor

from dualsr_geo.errors import OptionError, ScaleError
from dualsr_geo.fusion.scene_regression import GuideFit
from dualsr_geo.fusion.wald.pairs import WaldPair
from dualsr_geo.fusion.wald.scene_sample import CommonEstimates, FilledSample
from dualsr_geo.models.reconstruction import Reconstruction, WindowInputs
from dualsr_geo.models.weights import PRECISIONS, Weights

# Names of the fine stages. The last four correct a finished start, shrunk as the scene's Wald pairs indicate.
FINE = ("none", "consistency", "backprojection", "backprojection-pixel", "finenet", "finenet-per-tile")
# Fine stages that fit a network to the scene.
FITTED = ("finenet", "finenet-per-tile")
# Context that a fine stage needs in addition to that of a network, lr px: for blur, closed form and interpolation, or
# for bicubic interpolation to half the ratio and back (docs/algorithm.md).
FINE_REACH = {"none": 0, "consistency": 12, "backprojection": 6, "backprojection-pixel": 6, "finenet": 2}
FINE_REACH["finenet-per-tile"] = FINE_REACH["finenet"]
# Keys of `Model.record` that only some models fill; readers of `models list --json` find them in every model.
RECORD_KEYS = ("injection", "cubic_a", "ours", "weights", "half")
# Number of float32 planes on the hr grid that a fine stage keeps for the anchors and its features.
FINE_STAGE_PLANES = 150


@dataclass(frozen=True)
class Model:
    """A named model; subclasses define its estimates and its reconstruction.

    Attributes
    ----------
    name : str
    summary : str
        One line for lists of models.
    guided : bool
        Whether it uses a guide if one is given.
    needs_guide : bool
        Whether it cannot work without a guide.
    spectral : bool
        Whether it works on the scene's spectral subspace rather than band by band.
    fine : str
        Default fine stage.
    halo : int
        Context with which tiling changes the result by less than 1e-5 of the data range, lr pixels.
    halo_covers_fine : bool
        Whether `halo` is sufficient for the fine stage ``"consistency"``, too.
    ratios : (int, int)
        Smallest and largest ratio.
    block : int
        The side of a tile is a multiple of so many lr pixels.
    planes : int
        Number of float32 planes on the hr grid that a tile keeps for networks.
    streams_bands : bool
        Whether a network sharpens one band after another, as the published ones do: without spectral
        components, and with a back-projection of its own.
    seconds_per_million : (float, float)
        Approximate time for a million values of the product on one core, with a guide and without, s; a batch
        estimates its time from it.
    licence : str
    sha256 : str or None
        Hash of the weights file; None without one.
    """

    name: str
    summary: str
    guided: bool = True
    spectral: bool = False
    fine: str = "none"
    halo: int = 14
    ratios: tuple[int, int] = (2, 32)
    needs_guide: bool = False
    block: int = 1
    planes: int = 0
    halo_covers_fine: bool = True
    streams_bands: bool = False
    seconds_per_million: tuple[float, float] = (0.15, 0.08)
    licence: str = "Apache-2.0"
    sha256: str | None = None

    # Whether the result depends on ratios of values, so that a shift of all values of a band changes it.
    uses_ratios: ClassVar[bool] = False
    # The frozen dataclass that `estimate` returns; `dualsr_geo.serialization` can read and write it.
    state_type: ClassVar[type | None] = None

    @property
    def only_ratio(self) -> int | None:
        """The ratio of a model that has only one; None for other models."""
        low, high = self.ratios
        return low if low == high else None

    # ---- configuration ---------------------------------------------------------------------

    def configured(self, *, published: bool, precision: str) -> Self:
        """Return the model with the options of networks applied.

        Raises
        ------
        OptionError
            If the model has no network with these options.
        """
        option = "--published" if published else f"--precision {precision}" if precision != PRECISIONS[0] else None
        if option is not None:
            of = "published networks" if published else "networks"
            raise OptionError(
                f"{option} is for {of}, and `{self.name}` is none. Leave it out, or give weights as --model."
            )
        return self

    def with_half(self, path: str | os.PathLike[str] | None, fine: str) -> Self:  # noqa: ARG002  # networks need it
        """Return the model with weights of half its ratio, for the fine stage ``"backprojection"`` of a network.

        Raises
        ------
        OptionError
            If the weights are missing, or are given and not needed.
        """
        if path is not None:
            raise OptionError(
                f"--half-model {path} applies only to --fine backprojection of ratios above 2. Leave it out."
            )
        return self

    def with_orientations(self, count: int) -> Self:
        """Return the model whose unguided network is averaged over this number of flips and quarter turns.

        Raises
        ------
        OptionError
            If the model has no such network.
        """
        if count != 1:
            raise OptionError(
                f"--orientations {count} is for the unguided network of auto and learned, and `{self.name}` has none. "
                "Leave it out."
            )
        return self

    def require_inputs(self, bands: int, guide_bands: int | None) -> None:  # noqa: ARG002  # networks need it
        """Check the numbers of bands of the scene and of the guide; None without a guide.

        Raises
        ------
        OptionError
            If the model needs a guide, and none is given.
        InputError
            If the numbers of bands do not fit the model's weights.
        """
        if self.needs_guide and guide_bands is None:
            raise OptionError(f"The model `{self.name}` takes all detail from a guide, and none is given. Give --rgb.")

    @property
    def identity(self) -> dict[str, object]:
        """Everything besides name and version that determines the result, as JSON values."""
        return {}

    @property
    def record(self) -> dict[str, Any]:
        """All attributes, as JSON values; a key that only some models have is None for the others."""
        return {**dict.fromkeys(RECORD_KEYS), **asdict(self)}

    @property
    def networks(self) -> dict[str, Weights]:
        """The weights of the networks, by their keys in provenance records."""
        return {}

    def for_trial(self) -> Self:
        """Return the model for a Wald pair of a scene whose survey exists."""
        return self

    # ---- the scene -------------------------------------------------------------------------

    def estimate(self, sample: FilledSample, common: CommonEstimates) -> Any:  # noqa: ARG002
        """Return the model's state for a scene, of type `state_type`; None if tiles need none.

        Parameters
        ----------
        sample : FilledSample
        common : CommonEstimates
        """
        return None

    def reads_guide(self, state: Any) -> bool:
        """Return whether tiles need the guide."""
        return self.guided and state is not None

    def guide_fit(self, state: Any) -> GuideFit | None:  # noqa: ARG002
        """Return the regressions on the guide of the training-free start; None without any."""
        return None

    def notes(self, state: Any) -> tuple[str, ...]:  # noqa: ARG002
        """Return sentences for the user about the scene's estimates."""
        return ()

    def with_shrinkage_of(self, state: Any, other: Any) -> Any:  # noqa: ARG002
        """Return a state with the shrinkage factors of another state of the same scene."""
        return state

    def provenance(self, state: Any) -> Mapping[str, Any]:  # noqa: ARG002
        """Return the part of the state that the product records, as JSON values."""
        return {}

    # ---- the window ------------------------------------------------------------------------

    def reconstruct(self, inputs: WindowInputs, state: Any) -> Reconstruction:
        """Sharpen one window.

        Parameters
        ----------
        inputs : WindowInputs
        state : state_type or None
            The value that `estimate` returned.

        Returns
        -------
        Reconstruction
            Computes bands on demand.
        """
        raise NotImplementedError

    def restore(self, pair: WaldPair, state: Any) -> list[Tensor]:
        """Return the sharpened blocks of a Wald pair, (band, Y, X) each, for the detail assessment."""
        raise NotImplementedError


def require_ratio(model: Model, ratio: int) -> None:
    """Check that a model supports a ratio.

    Raises
    ------
    ScaleError
        If it does not.
    """
    low, high = model.ratios
    if low <= ratio <= high:
        return
    if low == high:
        raise ScaleError(
            f"The weights of `{model.name}` sharpen {low} times, not {ratio}. Give --scale {low}, or other weights."
        )
    raise ScaleError(
        f"The model `{model.name}` sharpens {low} to {high} times, not {ratio}. "
        f"Give --scale {low}..{high}, or sharpen in two steps."
    )


def choose_fine(model: Model, fine: str | None) -> str:
    """Return the requested fine stage, or by default the model's.

    Raises
    ------
    OptionError
        If the fine stage does not exist, or not for this model.
    """
    if fine is None:
        return model.fine
    if fine not in FINE:
        raise OptionError(f"There is no fine stage `{fine}`. Give --fine {' or '.join(FINE)}.")
    if fine == "backprojection-pixel" and model.streams_bands:
        raise OptionError(
            f"--fine {fine} needs all bands of a pixel, and the network `{model.name}` makes one after another. "
            "Give --fine backprojection."
        )
    if fine in FITTED and not model.guided:
        raise OptionError(
            f"--fine {fine} compares with a guide, and `{model.name}` takes none. "
            "Give --fine consistency, or another --model."
        )
    return fine


def require_fine(fine: str, ratio: int, *, guided: bool) -> None:
    """Check that a fine stage can work at a ratio, with or without a guide.

    Raises
    ------
    OptionError
        If it cannot.
    """
    if fine in FITTED and not guided:
        raise OptionError(f"--fine {fine} compares with a guide, and none is given. Give --rgb, or --fine consistency.")
    if fine.startswith("backprojection") and ratio % 2:
        raise OptionError(
            f"--fine {fine} needs the result of half the ratio too, and {ratio} has no half. "
            "Give --fine none or consistency."
        )


def is_refined(model: Model, fine: str) -> bool:
    """Return whether the fine stage corrects a finished start, unlike a network's own back-projection."""
    return fine in FINE[2:] and not (fine == "backprojection" and model.streams_bands)


def is_consistent(model: Model, fine: str) -> bool:
    """Return whether the closed form makes the start consistent with the scene; a correction preserves that."""
    return (model.fine if is_refined(model, fine) else fine) == "consistency"


def planes(model: Model, fine: str, bands: int) -> int:
    """Return the number of float32 planes on the hr grid that a tile keeps for networks and the fine stage."""
    if not is_refined(model, fine):
        return model.planes
    # The bands of a model without spectral components are computed once, and kept.
    return model.planes + FINE_STAGE_PLANES + (0 if model.spectral else bands)


def with_fine(model: Model, fine: str) -> Model:
    """Return the model with a halo that suffices for its coarse stage and the fine stage."""
    if model.halo_covers_fine and not is_refined(model, fine):
        return model
    reach = FINE_REACH[fine]
    if is_refined(model, fine) and is_consistent(model, fine):
        # The closed form is applied to the correction, too.
        reach += FINE_REACH["consistency"]
    return replace(model, halo=_whole(model.halo + reach, model.block))


def _whole(length: int, block: int) -> int:
    return -(-length // block) * block
