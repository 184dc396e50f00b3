"""Models and what they promise: guide, ratios, halo, licence."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dualsr_geo.errors import InputError, OptionError, ScaleError

# The last four correct a finished start, by as much as the scene's own Wald pair allows (`refinement`).
FINE = ("none", "consistency", "backprojection", "backprojection-pixel", "finenet", "finenet-per-tile")
FITTED = ("finenet", "finenet-per-tile")
PRECISIONS = ("float32", "bfloat16")
# lr pixels that a fine stage sees beyond what a network made: blur, closed form and interpolation
# (algorithm-lab-2.md A1a); bicubic to half the ratio and back.
FINE_REACH = {"none": 0, "consistency": 12, "backprojection": 6, "backprojection-pixel": 6, "finenet": 2}
FINE_REACH["finenet-per-tile"] = FINE_REACH["finenet"]
# What a fine stage sees of the anchors, and its features.
REFINED_PLANES = 150


@dataclass(frozen=True)
class Weights:
    """A network's weights, and how they are used.

    Attributes
    ----------
    path : str
        Absolute.
    sha256 : str
    network : str
        ``"coarsr"``, ``"coarsenet"``, ``"guided"`` or ``"alone"``.
    ratio : int
        0 where one set of weights serves all.
    width : int
    guide_bands : int
        0 for a network without a guide.
    block : int
        lr pixels that its tiles are a multiple of.
    halo : int
        lr pixels of context.
    published : bool
        Compute what the published code computes.
    precision : str
        ``"float32"`` or ``"bfloat16"``.
    """

    path: str
    sha256: str
    network: str
    ratio: int
    width: int
    guide_bands: int = 0
    block: int = 1
    halo: int = 0
    published: bool = False
    precision: str = "float32"

    @property
    def features(self) -> int:
        """Planes of float32 on the hr grid that a tile keeps."""
        from dualsr_geo.models.architectures import architecture_of  # noqa: PLC0415  # loads torch

        return architecture_of(self.network).planes(self.width, self.ratio)

    @property
    def identity(self) -> dict[str, object]:
        """All that decides what it computes."""
        return {"sha256": self.sha256, "published": self.published, "precision": self.precision}


@dataclass(frozen=True)
class LearnedCorrection:
    """How our own networks correct a training-free start.

    Attributes
    ----------
    gated : bool
        Whether the scene's own Wald pair decides by how much.
    guided, alone : Weights or None
        Where a guide is, and where none is; None until they are looked up.
    """

    gated: bool
    guided: Weights | None = None
    alone: Weights | None = None

    @property
    def identity(self) -> dict[str, object]:
        """All that decides what they compute."""
        each = {"guided": self.guided, "alone": self.alone}
        return {"gated": self.gated, **{k: w.identity for k, w in each.items() if w is not None}}


@dataclass(frozen=True)
class Model:
    """A model by name.

    Attributes
    ----------
    name : str
    summary : str
        One line.
    guided : bool
        Whether it uses a guide where there is one.
    needs_guide : bool
        Whether it is nothing without one.
    spectral : bool
        Whether it works on the scene's spectral subspace rather than band by band.
    injection : str or None
        The rule of `dualsr_geo.fusion.injection` by which it takes the guide's detail.
    cubic_a : float or None
        Sharpness of the bicubic kernel of a model that knows nothing of blur and interpolates at
        the grid's own phase; None for one that interpolates at the PSF's.
    fine : str
        The fine stage it is meant for.
    halo : int
        lr pixels of context that leave less than 1e-5 of the data range
        (research/algorithm-lab-2.md A1a), whichever fine stage follows.
    ratios : (int, int)
        Smallest and largest ratio.
    ours : LearnedCorrection or None
        How our own networks correct the start; None for models that they do not correct.
    licence : str
    sha256 : str or None
        Of its weights; None where it has none. That of our own networks stands in `ours`.
    weights : Weights or None
        Of a network.
    half : Weights or None
        Of the same network at half the ratio, which the fine stage ``"backprojection"`` wants
        above ratio 2.
    """

    name: str
    summary: str
    guided: bool
    spectral: bool
    fine: str
    halo: int
    ratios: tuple[int, int] = (2, 32)
    needs_guide: bool = False
    injection: str | None = None
    cubic_a: float | None = None
    ours: LearnedCorrection | None = None
    licence: str = "Apache-2.0"
    sha256: str | None = None
    weights: Weights | None = None
    half: Weights | None = None

    @property
    def block(self) -> int:
        """How many lr pixels a tile is a multiple of."""
        return 1 if self.weights is None else self.weights.block

    @property
    def features(self) -> int:
        """Planes of float32 on the hr grid that a tile keeps for its network."""
        if self.weights is not None:
            return self.weights.features
        own = (self.ours.guided, self.ours.alone) if self.ours is not None else ()
        return max((weights.features for weights in own if weights is not None), default=0)


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


def require_inputs(model: Model, bands: int, guide_bands: int | None) -> None:
    """Check that a network can read a scene and a guide of so many bands; None is no guide.

    Raises
    ------
    OptionError
        If it takes all from a guide, and there is none.
    InputError
        If the bands do not fit the weights.
    """
    if model.needs_guide and guide_bands is None:
        raise OptionError(f"The model `{model.name}` takes all detail from a guide, and none is given. Give --rgb.")
    weights = model.weights
    if weights is None:
        return
    from dualsr_geo.models.architectures import architecture_of  # noqa: PLC0415  # loads torch

    least = architecture_of(weights.network).min_bands
    if bands < least:
        raise InputError(
            f"The network `{weights.network}` reads {least} bands at a time, the scene has {bands} with data. "
            f"Give {least} or more, or another --model."
        )
    if weights.guide_bands and guide_bands is not None and guide_bands != weights.guide_bands:
        raise InputError(
            f"The guide has {guide_bands} band{'s' * (guide_bands != 1)}, the weights of `{model.name}` were trained "
            f"for {weights.guide_bands}. Give --rgb a guide of {weights.guide_bands}, or other weights as --model."
        )


def choose_fine(model: Model, asked: str | None) -> str:
    """Return the fine stage asked for, or the model's own.

    Raises
    ------
    OptionError
        If there is none of that name, or not for this model.
    """
    if asked is None:
        return model.fine
    if asked not in FINE:
        raise OptionError(f"There is no fine stage `{asked}`. Give --fine {' or '.join(FINE)}.")
    if asked == "backprojection-pixel" and model.weights is not None:
        raise OptionError(
            f"--fine {asked} weighs all bands of a pixel, and the network `{model.name}` makes one after another. "
            "Give --fine backprojection."
        )
    if asked in FITTED and not model.guided:
        raise OptionError(
            f"--fine {asked} compares with a guide, and `{model.name}` takes none. "
            "Give --fine consistency, or another --model."
        )
    return asked


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
            f"--fine {fine} wants the result of half the ratio too, and {ratio} has no half. "
            "Give --fine none or consistency."
        )


def is_refined(model: Model, fine: str) -> bool:
    """Say whether the fine stage corrects a finished start; a network's back-projection is its own."""
    return fine in FINE[2:] and not (fine == "backprojection" and model.weights is not None)


def is_consistent(model: Model, fine: str) -> bool:
    """Say whether the closed form makes the start consistent with the scene; what corrects it then keeps that."""
    return (model.fine if is_refined(model, fine) else fine) == "consistency"


def planes(model: Model, fine: str, bands: int) -> int:
    """Return how many planes of float32 on the hr grid a tile keeps for networks and for what corrects a start."""
    if not is_refined(model, fine):
        return model.features
    # What is not made of components is made once, and kept.
    return model.features + REFINED_PLANES + (0 if model.spectral else bands)


def with_fine(model: Model, fine: str) -> Model:
    """Return a model with the halo that its coarse stage and the fine stage after it see."""
    if model.weights is None and not is_refined(model, fine):
        return model
    more = FINE_REACH[fine]
    if is_refined(model, fine) and is_consistent(model, fine):
        # What corrects a consistent start is made consistent itself.
        more += FINE_REACH["consistency"]
    return replace(model, halo=_whole(model.halo + more, model.block))


def _whole(length: int, block: int) -> int:
    return -(-length // block) * block
