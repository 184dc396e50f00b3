"""What a model is: what it needs, what it estimates on a scene, and how it reconstructs a window.

A model is a subclass of `Model` in one file. It is found by name in the registry, or by an entry
point of the group ``dualsr_geo.models`` in a package of its own. Nothing outside its file asks
which model a run uses.
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

# The last four correct a finished start, by as much as the scene's own Wald pair supports.
FINE = ("none", "consistency", "backprojection", "backprojection-pixel", "finenet", "finenet-per-tile")
FITTED = ("finenet", "finenet-per-tile")
# lr pixels of context that a fine stage needs besides those of a network: blur, closed form and interpolation;
# bicubic to half the ratio and back (docs/algorithm.md).
FINE_REACH = {"none": 0, "consistency": 12, "backprojection": 6, "backprojection-pixel": 6, "finenet": 2}
FINE_REACH["finenet-per-tile"] = FINE_REACH["finenet"]
# Keys of `Model.record` that only some models fill; readers of `models list --json` find them in every model.
RECORD_KEYS = ("injection", "cubic_a", "ours", "weights", "half")
# Planes of float32 on the hr grid that a fine stage keeps of the anchors, with its features.
FINE_STAGE_PLANES = 150


@dataclass(frozen=True)
class Model:
    """A model by name; a subclass says what it estimates and how it reconstructs.

    Attributes
    ----------
    name : str
    summary : str
        One line.
    guided : bool
        Whether it uses a guide where there is one.
    needs_guide : bool
        Whether it cannot work without one.
    spectral : bool
        Whether it works on the scene's spectral subspace rather than band by band.
    fine : str
        The fine stage it is meant for.
    halo : int
        lr pixels of context that leave less than 1e-5 of the data range.
    halo_covers_fine : bool
        Whether `halo` is enough for every fine stage that only makes the result consistent.
    ratios : (int, int)
        Smallest and largest ratio.
    block : int
        lr pixels that a tile is a multiple of.
    planes : int
        Planes of float32 on the hr grid that a tile keeps for networks.
    streams_bands : bool
        Whether a network makes one band after another by itself, as the published ones do: without spectral
        components, and with a back-projection of its own.
    seconds_per_million : (float, float)
        Rough time for a million values of the product on one core, with a guide and without; a batch
        estimates its time by it.
    licence : str
    sha256 : str or None
        Of its weights file; None where it has none.
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

    # The frozen dataclass that `estimate` returns, which the codec of `dualsr_geo.serialization` can read.
    state_type: ClassVar[type | None] = None

    @property
    def only_ratio(self) -> int | None:
        """The one ratio that it sharpens by; None where it has a choice."""
        low, high = self.ratios
        return low if low == high else None

    # ---- configuration ---------------------------------------------------------------------

    def configured(self, *, published: bool, precision: str) -> Self:
        """Return the model with options for networks applied.

        Raises
        ------
        OptionError
            If it has no network that they apply to.
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
            If they are missing, or given in vain.
        """
        if path is not None:
            raise OptionError(
                f"--half-model {path} serves --fine backprojection of ratios above 2 alone. Leave it out."
            )
        return self

    def require_inputs(self, bands: int, guide_bands: int | None) -> None:  # noqa: ARG002  # networks need it
        """Check that it can read a scene and a guide of so many bands; None is no guide.

        Raises
        ------
        OptionError
            If it takes all detail from a guide, and there is none.
        InputError
            If the bands do not fit its weights.
        """
        if self.needs_guide and guide_bands is None:
            raise OptionError(f"The model `{self.name}` takes all detail from a guide, and none is given. Give --rgb.")

    @property
    def identity(self) -> dict[str, object]:
        """All that decides what it computes, besides its name and the version; fit for JSON."""
        return {}

    @property
    def record(self) -> dict[str, Any]:
        """All that the model promises, fit for JSON; a key that only some models have is None for the others."""
        return {**dict.fromkeys(RECORD_KEYS), **asdict(self)}

    @property
    def networks(self) -> dict[str, Weights]:
        """The weights of its networks, by the key that provenance records them under."""
        return {}

    def for_trial(self) -> Self:
        """Return the model as it restores a Wald pair of a scene that was surveyed before."""
        return self

    # ---- the scene -------------------------------------------------------------------------

    def estimate(self, sample: FilledSample, common: CommonEstimates) -> Any:  # noqa: ARG002
        """Return the model's state for a scene: what every tile needs, of type `state_type`; None for nothing.

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
        """Return the regressions on the guide that the training-free start is made by; None without."""
        return None

    def with_shrinkage_of(self, state: Any, other: Any) -> Any:  # noqa: ARG002
        """Return a state whose corrections are shrunk as in another state of the same scene."""
        return state

    def provenance(self, state: Any) -> Mapping[str, Any]:  # noqa: ARG002
        """Return what of the state is recorded with the product, fit for JSON."""
        return {}

    # ---- the window ------------------------------------------------------------------------

    def reconstruct(self, inputs: WindowInputs, state: Any) -> Reconstruction:
        """Sharpen one window.

        Parameters
        ----------
        inputs : WindowInputs
        state : state_type or None
            What `estimate` returned.

        Returns
        -------
        Reconstruction
            Bands are made when asked for.
        """
        raise NotImplementedError

    def restore(self, pair: WaldPair, state: Any) -> list[Tensor]:
        """Sharpen the blocks of a Wald pair of the scene, (band, Y, X) each, for the detail assessment."""
        raise NotImplementedError


def require_ratio(model: Model, ratio: int) -> None:
    """Check that a model can do a ratio.

    Raises
    ------
    ScaleError
        If it cannot.
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
    """Return the fine stage that is wanted, or the model's own.

    Raises
    ------
    OptionError
        If there is none of that name, or not for this model.
    """
    if fine is None:
        return model.fine
    if fine not in FINE:
        raise OptionError(f"There is no fine stage `{fine}`. Give --fine {' or '.join(FINE)}.")
    if fine == "backprojection-pixel" and model.streams_bands:
        raise OptionError(
            f"--fine {fine} weighs all bands of a pixel, and the network `{model.name}` makes one after another. "
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
    """Return whether the fine stage corrects a finished start; a network's own back-projection does not."""
    return fine in FINE[2:] and not (fine == "backprojection" and model.streams_bands)


def is_consistent(model: Model, fine: str) -> bool:
    """Return whether the closed form makes the start consistent with the scene; what corrects it then keeps that."""
    return (model.fine if is_refined(model, fine) else fine) == "consistency"


def planes(model: Model, fine: str, bands: int) -> int:
    """Return how many planes of float32 on the hr grid a tile keeps for networks and for what corrects a start."""
    if not is_refined(model, fine):
        return model.planes
    # A result that is not made of components is made once, and kept.
    return model.planes + FINE_STAGE_PLANES + (0 if model.spectral else bands)


def with_fine(model: Model, fine: str) -> Model:
    """Return a model with the halo that its coarse stage and the fine stage after it need."""
    if model.halo_covers_fine and not is_refined(model, fine):
        return model
    reach = FINE_REACH[fine]
    if is_refined(model, fine) and is_consistent(model, fine):
        # What corrects a consistent start is made consistent itself.
        reach += FINE_REACH["consistency"]
    return replace(model, halo=_whole(model.halo + reach, model.block))


def _whole(length: int, block: int) -> int:
    return -(-length // block) * block
