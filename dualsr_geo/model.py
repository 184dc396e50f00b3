"""Models and what they promise: guide, ratios, halo, licence."""

from __future__ import annotations

from dataclasses import dataclass

from dualsr_geo.errors import OptionError, ScaleError

FINE = ("none", "consistency")


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
    spectral : bool
        Whether it works on the scene's spectral subspace rather than band by band.
    fine : str
        The fine stage it is meant for.
    halo : int
        lr pixels of context that leave less than 1e-5 of the data range
        (research/algorithm-lab-2.md A1a), whichever fine stage follows.
    ratios : (int, int)
        Smallest and largest ratio.
    licence : str
    sha256 : str or None
        Of its weights; None where it has none.
    """

    name: str
    summary: str
    guided: bool
    spectral: bool
    fine: str
    halo: int
    ratios: tuple[int, int] = (2, 32)
    licence: str = "Apache-2.0"
    sha256: str | None = None


MODELS = {
    m.name: m
    for m in (
        Model(
            "regression",
            "Regressions of the scene's spectral components on the guide, mixed by the scene's own Wald pair.",
            guided=True,
            spectral=True,
            fine="consistency",
            halo=14,
        ),
        Model(
            "interpolation",
            "No guide: area-to-point kriging of the spectral components, consistent with the scene.",
            guided=False,
            spectral=True,
            fine="consistency",
            halo=14,
        ),
        Model(
            "bicubic",
            "Plain bicubic interpolation of every band, the baseline.",
            guided=False,
            spectral=False,
            fine="none",
            halo=14,
        ),
    )
}


def load_model(name: str) -> Model:
    """Return a model by name.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    if name not in MODELS:
        raise OptionError(f"There is no model `{name}`. Give --model {', '.join(MODELS)}.")
    return MODELS[name]


def require_ratio(model: Model, ratio: int) -> None:
    """Check that a model can do a ratio.

    Raises
    ------
    ScaleError
        If it cannot.
    """
    low, high = model.ratios
    if not low <= ratio <= high:
        raise ScaleError(
            f"The model `{model.name}` sharpens {low} to {high} times, not {ratio}. "
            f"Give --scale {low}..{high}, or sharpen in two steps."
        )


def choose_fine(model: Model, asked: str | None) -> str:
    """Return the fine stage asked for, or the model's own.

    Raises
    ------
    OptionError
        If there is none of that name.
    """
    if asked is None:
        return model.fine
    if asked not in FINE:
        raise OptionError(f"There is no fine stage `{asked}`. Give --fine {' or '.join(FINE)}.")
    return asked
