"""Which models there are: by name, and from weights files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.models.definition import PRECISIONS, LearnedCorrection, Model, Weights

SHIPPED = Path(__file__).with_name("data")
# File names of the weights of our own networks, by the id of their architecture.
OWN = {"guided": "guided.safetensors", "alone": "unguided.safetensors"}


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
            "auto",
            "As `learned`, by as much as the scene's own Wald pair allows; the default.",
            guided=True,
            spectral=True,
            fine="consistency",
            halo=18,
            ours=LearnedCorrection(gated=True),
        ),
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
            "learned",
            "Our networks correct `regression` where a guide is, and `interpolation` where none is.",
            guided=True,
            spectral=True,
            fine="consistency",
            halo=18,
            ours=LearnedCorrection(gated=False),
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


def load_model(name: str | os.PathLike[str], *, published: bool = False, precision: str = "float32") -> Model:
    """Return a model by name, or one of a weights file.

    Parameters
    ----------
    name : str or path
        One of `MODELS`, or a file of `dualsr-geo train` or `models import`.
    published : bool
        Let a network compute what its authors' published code computes, defects included.
    precision : str
        What a network computes in, ``"float32"`` or ``"bfloat16"``.

    Raises
    ------
    OptionError
        If there is none of that name.
    InputError
        If the file is damaged or of another kind.
    """
    if precision not in PRECISIONS:
        raise OptionError(f"--precision {precision} is not known. Give {' or '.join(PRECISIONS)}.")
    if name in MODELS:
        return _of_name(str(name), published=published, precision=precision)
    path = Path(name)
    if not path.is_file():
        raise OptionError(
            f"There is no model `{name}`, and no file of that name. "
            f"Give --model {', '.join(MODELS)}, or a file of `dualsr-geo train` or `models import`."
        )
    return _of_weights(path, published=published, precision=precision)


def _of_name(name: str, *, published: bool, precision: str) -> Model:
    model = MODELS[name]
    if model.ours is not None and not published:
        # In bfloat16 the network without a guide strays by 8e-3 of the range; it is quick as it is.
        guided, alone = (SHIPPED / name for name in OWN.values())
        return _looked_up(model, {"guided": _weights(guided, precision=precision), "alone": _weights(alone)})
    asked = "--published" if published else f"--precision {precision}" if precision != PRECISIONS[0] else None
    if asked is not None:
        of = "published networks" if published else "networks"
        raise OptionError(f"{asked} is for {of}, and `{name}` is none. Leave it out, or give weights as --model.")
    return model


def _looked_up(model: Model, own: Mapping[str, Weights]) -> Model:
    """Return a model with the weights of our own networks."""
    assert model.ours is not None
    ours = replace(model.ours, guided=own["guided"], alone=own["alone"])
    return replace(model, ours=ours, halo=max(w.halo for w in own.values()))


def _weights(path: Path, *, published: bool = False, precision: str = PRECISIONS[0]) -> Weights:
    from dualsr_geo.models.weights import read_card, sha256  # noqa: PLC0415  # loads torch

    card = read_card(path)
    place, sizes = str(path.resolve()), (card.ratio, card.width, card.guide_bands, card.block, card.halo)
    return Weights(place, sha256(path), card.network, *sizes, published, precision)


def _of_weights(path: Path, *, published: bool, precision: str) -> Model:
    from dualsr_geo.models.architectures import architecture_of  # noqa: PLC0415  # loads torch
    from dualsr_geo.models.weights import read_card  # noqa: PLC0415  # loads torch

    card = read_card(path)
    weights = _weights(path, published=published, precision=precision)
    if not architecture_of(card.network).standalone:
        return _of_own(path, weights, card.licence)
    return Model(
        path.stem,
        f"{card.network}, {card.ratio}x, {card.width} features, from {card.source or 'training here'}.",
        guided=card.guide_bands > 0,
        needs_guide=card.guide_bands > 0,
        spectral=False,
        fine="none",
        halo=card.halo,
        ratios=(card.ratio, card.ratio),
        licence=card.licence,
        sha256=weights.sha256,
        weights=weights,
    )


def _of_own(path: Path, weights: Weights, licence: str) -> Model:
    """Return `auto` with other weights for one of our networks."""
    if weights.published:
        raise OptionError(f"--published is for published networks, and {path} holds `{weights.network}`. Leave it out.")
    model = load_model("auto", precision=weights.precision)
    if weights.network == "alone":
        weights = replace(weights, precision=PRECISIONS[0])
    assert model.ours is not None
    own = {n: weights if n == weights.network else getattr(model.ours, n) for n in OWN}
    summary = f"`auto` with {weights.network} from this file."
    return _looked_up(replace(model, name=path.stem, summary=summary, licence=licence), own)


def with_half(model: Model, path: str | os.PathLike[str] | None, fine: str) -> Model:
    """Return a network with the weights of half its ratio, where the fine stage wants them.

    Raises
    ------
    OptionError
        If they are missing, or given in vain.
    InputError
        If they are of another network or ratio.
    """
    weights = model.weights
    if fine == "backprojection" and weights is not None and weights.ratio > 2:
        return replace(model, half=_half(weights, path))
    if path is not None:
        raise OptionError(f"--half-model {path} serves --fine backprojection of ratios above 2 alone. Leave it out.")
    return model


def _half(weights: Weights, path: str | os.PathLike[str] | None) -> Weights:
    if weights.ratio % 2:
        raise OptionError(
            f"--fine backprojection wants the result of half the ratio too, and {weights.ratio} has no half. "
            "Give --fine none or consistency."
        )
    ratio = weights.ratio // 2
    if path is None:
        raise OptionError(
            f"--fine backprojection of ratio {weights.ratio} wants the result of ratio {ratio} too. "
            f"Give weights of {weights.network} for ratio {ratio} as --half-model."
        )
    found = load_model(path, published=weights.published, precision=weights.precision).weights
    if found is None or (found.network, found.ratio, found.guide_bands) != (
        weights.network,
        ratio,
        weights.guide_bands,
    ):
        said = "is no weights file" if found is None else f"holds {found.network} of ratio {found.ratio}"
        raise InputError(f"--half-model {path} {said}. Give weights of {weights.network} for ratio {ratio}.")
    return found
