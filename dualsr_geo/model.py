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
    needs_guide : bool
        Whether it is nothing without one.
    spectral : bool
        Whether it works on the scene's spectral subspace rather than band by band.
    injection : str or None
        The rule of `dualsr_geo.injection` by which it takes the guide's detail.
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
    needs_guide: bool = False
    injection: str | None = None
    cubic_a: float | None = None
    licence: str = "Apache-2.0"
    sha256: str | None = None


def _injecting(name: str, summary: str, cubic_a: float | None = None) -> Model:
    return Model(
        name,
        summary,
        guided=True,
        spectral=False,
        fine="none",
        halo=14,
        needs_guide=True,
        injection=name,
        cubic_a=cubic_a,
    )


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
            cubic_a=-0.75,  # OpenCV's and torch's
        ),
        _injecting("brovey", "Baseline: Brovey as GDAL does it, the guide over the mean of all bands.", cubic_a=-0.5),
        _injecting("gsa", "Baseline: Gram-Schmidt adaptive (Aiazzi et al., 2007)."),
        _injecting(
            "mtf-glp-hpm", "Baseline: MTF-matched Laplacian pyramid, high-pass modulation (Aiazzi et al., 2006)."
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
