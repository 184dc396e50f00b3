"""The grids: which scene with which guide, ratio, degradation, disturbance and model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from zlib import crc32

import scenes
import table
from contenders import CONTENDERS
from degradations import ALL_DEGRADATIONS, DEGRADATIONS, Floats
from disturbances import ALL_DISTURBANCES, DISTURBANCES, REALITIES, Disturbance, Pair

from dualsr_geo.errors import OptionError
from dualsr_geo.models.definition import Model
from dualsr_geo.models.registry import models

# The other CAVE scenes run when --only names them.
CAVE = (*scenes.VALIDATION, "cave-feathers", "cave-flowers")
NAMED_ONLY = ("cave-", "-middle", "-targets")
DEFAULT = (*CAVE, *(s for s in scenes.SCENES if s not in CAVE and not any(part in s for part in NAMED_ONLY)))
# Scenes of the grid of real guides and blurs; outside the training data of the shipped networks.
REAL_SCENES = ("sponges-middle", "thread_spools-middle", "jasper", "sandiego", "enmap", "wv2", "sn6")
TARGET_SCENES = ("jasper-targets", "thread_spools-targets")
# Guides of the real grid, of which those of `GUIDES` are disturbed; this disturbance needs several bands.
REAL_GUIDES, GUIDES, COLLINEAR = ("rgb", "pan", "rg", "rgbn"), ("rgb", "pan", "own"), "guide-collinear"
# Ours with a guide, and what is compared with ours.
REAL_MODELS, PLAIN = ("auto", "regression"), ("bicubic", "spline")
GUIDED_CONTENDERS = tuple(name for name in CONTENDERS if name not in PLAIN)
# Blurs, ratios and noises of scenes without a guide; above this ratio only large scenes.
REAL_BLURS = (
    "matlab-bicubic",
    "lanczos",
    "box",
    "gaussian-0.15",
    "mtf",
    "gaussian-0.45",
    "gaussian-0.6",
    "nearest",
    "cubic",
)
REAL_SETTINGS = ((4, "none"), (2, "none"), (8, "none"), (4, "noise-1"), (4, "noise-3"))
LARGEST_RATIO_OF_SMALL, LARGE = 4, ("sponges-middle", "thread_spools-middle", "wv2")
# The word of --only for that grid.
REAL = "reality"
OWN_GUIDE = ("wv2", "sn6", "dsen2")


@dataclass(frozen=True)
class Combination:
    """One run of the grid.

    Attributes
    ----------
    scene, guide, degradation, disturbance, model : str
    ratio : int
    """

    scene: str
    guide: str
    ratio: int
    degradation: str
    disturbance: str
    model: str

    def __str__(self) -> str:
        return f"{self.scene} {self.guide} x{self.ratio} {self.degradation} {self.disturbance} {self.model}"

    @property
    def key(self) -> tuple[str, ...]:
        """What tells it from every other, as in the table."""
        return tuple(map(str, astuple(self)))

    @property
    def values(self) -> set[str]:
        """The words that it answers to."""
        named = (f"{name}={value}" for name, value in zip(table.KEY, self.key, strict=True))
        return {*self.key, f"x{self.ratio}", *named}

    @property
    def protocol(self) -> str:
        """The degradation, and the disturbance if any."""
        return self.degradation if self.disturbance == "none" else f"{self.degradation} {self.disturbance}"

    @property
    def psf(self) -> str:
        """How the model knows the blur."""
        if self.model in CONTENDERS:
            return "given" if self.guide != "none" else "unused"
        return ALL_DISTURBANCES[self.disturbance].psf if takes_psf(models()[self.model]) else "unused"

    def pair(self) -> Pair:
        """Make scene, guide and reference."""
        one = undisturbed(self.scene, self.guide, self.ratio, self.degradation)
        return ALL_DISTURBANCES[self.disturbance].apply(one)


@lru_cache(maxsize=2)
def undisturbed(name: str, kind: str, ratio: int, degradation: str) -> Pair:
    """Make a pair without any disturbance; the same for every model."""
    scene = scenes.cut(scenes.load(name), ratio)
    observed = ALL_DEGRADATIONS[degradation].observe(scene.cube, ratio, scene.gains)
    guide: Floats | None = scenes.guide(scene, kind)
    gain = sum(scene.gains) / len(scene.gains)
    response = None if kind in ("own", "none") else scenes.responses(scene, kind)
    seed = crc32(f"{name} {ratio}".encode())
    return Pair(observed, guide, scene.cube, ratio, gain, seed, response=response)


def takes_psf(model: Model) -> bool:
    """Say whether the blur matters to a model."""
    return model.record["cubic_a"] is None


def guides(scene: str) -> tuple[str, ...]:
    """Return the guides that a scene is run with."""
    if scene in OWN_GUIDE:
        return ("own",)
    return ("pan",) if scene == "landsat" else ("rgb", "pan")


def ratios(scene: str) -> tuple[int, ...]:
    """Return the ratios that a scene is run at; disturbances are run at the first."""
    if scene == "dsen2":
        return (2,)
    return (4, 8) if scene in scenes.VALIDATION or scene.startswith("cave-") else (4,)


def grid(names: Sequence[str]) -> Iterator[Combination]:
    """Yield the whole grid of some scenes, scene by scene."""
    for scene in names:
        for ratio in ratios(scene):
            for degradation in DEGRADATIONS:
                for guide in (*guides(scene), "none"):
                    yield from _models(scene, guide, ratio, degradation)


def real_grid() -> Iterator[Combination]:
    """Yield the grid of what reality costs: disturbed guides, other numbers of guide bands, blurs that are not given."""
    for scene in (*REAL_SCENES, *TARGET_SCENES):
        yield from (Combination(scene, "none", 4, "mtf", "none", model) for model in PLAIN)
        for guide in guides(scene) if scene in OWN_GUIDE else REAL_GUIDES:
            for disturbance in ("none", *_guide_disturbances(scene, guide)):
                yield from (
                    Combination(scene, guide, 4, "mtf", disturbance, m) for m in (*REAL_MODELS, *GUIDED_CONTENDERS)
                )
    for scene in REAL_SCENES:
        for degradation in REAL_BLURS:
            for ratio, noise in REAL_SETTINGS:
                if ratio <= LARGEST_RATIO_OF_SMALL or scene in LARGE:
                    yield from (Combination(scene, "none", ratio, degradation, noise, m) for m in ("auto", *PLAIN))


def _guide_disturbances(scene: str, guide: str) -> Iterator[str]:
    """Yield the disturbances of a guide of the real grid."""
    if scene in REAL_SCENES and guide in GUIDES:
        yield from (
            name for name, d in REALITIES.items() if d.needs == "guide" and (name != COLLINEAR or guide == "rgb")
        )


def _models(scene: str, guide: str, ratio: int, degradation: str) -> Iterator[Combination]:
    disturbed = degradation == "mtf" and ratio == ratios(scene)[0]
    for model in (m for m in models().values() if _runs_with(m, guide)):
        # `learned` is there to show the effect of the shrinkage.
        calm = not disturbed or model.name == "learned"
        for name, disturbance in DISTURBANCES.items():
            if name == "none" or (not calm and _means_something(disturbance, model, guide)):
                yield Combination(scene, guide, ratio, degradation, name, model.name)


def _runs_with(model: Model, guide: str) -> bool:
    """Say whether a model is run with a guide: those that use none run once for all guides, ours both ways."""
    return model.guided == (guide != "none") or (guide == "none" and _has_unguided_network(model))


def _has_unguided_network(model: Model) -> bool:
    """Say whether one of ours sharpens without a guide, too; `regression` without one is `interpolation`."""
    return model.record["ours"] is not None


def _means_something(disturbance: Disturbance, model: Model, guide: str) -> bool:
    if disturbance.needs == "guide":
        return guide != "none"
    return disturbance.needs == "" or takes_psf(model)


def chosen(words: Sequence[str]) -> list[Combination]:
    """Return the part of the grid that the words name.

    Parameters
    ----------
    words : sequence of str
        Each one or several values with commas between, ``"none"`` or ``"disturbance=none"``; a
        combination is kept if each word names one of its values. No word: the whole default grid. The word
        ``"reality"`` chooses from the grid of what reality costs instead.

    Raises
    ------
    OptionError
        If nothing is left.
    """
    wanted = [set(word.split(",")) for word in words if word != REAL]
    named = set().union(*wanted)
    names = (*DEFAULT, *(s for s in scenes.SCENES if s in named and s not in DEFAULT))
    whole = {one.key: one for one in (real_grid() if REAL in words else grid(names))}
    kept = [one for one in whole.values() if all(w & one.values for w in wanted)]
    if not kept:
        raise OptionError(f"No combination has all of: {' '.join(words)}. Give --only other words; --list shows all.")
    return kept
