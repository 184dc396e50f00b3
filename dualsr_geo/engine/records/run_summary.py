"""What a run reports: the record of each tile, and the summary of the whole run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualsr_geo import serialization
from dualsr_geo.fusion.artefacts import ArtefactSums
from dualsr_geo.raster.spectral_indices import SUMS

# Fields of a summary that the product does not carry: they follow from it, or differ from run to run.
NOT_CARRIED = (
    "output",
    "classification",
    "shape",
    "bands",
    "seconds",
    "peak_memory_bytes",
    "report",
    "already_finished",
)


@dataclass(frozen=True)
class TileRecord:
    """The statistics of one tile, as its done mark keeps them; those of all tiles add up.

    Attributes
    ----------
    squared_error, pixels : array, shape (band,)
        Sum of the squared difference between the degraded product and the scene, and number of lr pixels.
    angle_sum_deg, angle_count : float and int
        Sum of the spectral angles between the two, degrees, and their number.
    below_minimum, saturated : int
        hr pixels raised to the scene's minimum, and hr pixels at an end of the stored range.
    guided : float
        lr pixels that the guide covers.
    coverage : float
        Their share of the core.
    guides_covered : array, shape (guide,)
        Number of lr pixels that each of several guides covers; empty for one.
    withheld : float
        lr pixels where the guide shows something else than the scene and is not used.
    deviation_sum, deviation_count : array, shape (band,)
        Sum of the standard deviations of the product's error, and number of hr pixels.
    artefacts, guide_artefacts : ArtefactSums
        Lattice and overshoot of the product's mean band, and the guide's.
    indices : array, shape (index, 2, 4)
        Differences of the spectral indices; see `spectral_indices.SUMS`.
    """

    squared_error: NDArray[np.float64]
    pixels: NDArray[np.float64]
    angle_sum_deg: float
    angle_count: int
    below_minimum: int
    saturated: int
    guided: float
    coverage: float
    guides_covered: NDArray[np.float64]
    withheld: float
    deviation_sum: NDArray[np.float64]
    deviation_count: NDArray[np.float64]
    artefacts: ArtefactSums
    guide_artefacts: ArtefactSums
    indices: NDArray[np.float64]

    @classmethod
    def from_json(cls, mark: Mapping[str, Any]) -> TileRecord:
        """Return the record of a done mark, which `TileStatistics.to_json` wrote."""
        return cls(
            squared_error=np.asarray(mark["square"], np.float64),
            pixels=np.asarray(mark["pixels"], np.float64),
            angle_sum_deg=mark["angle"],
            angle_count=mark["angles"],
            below_minimum=mark["cut"],
            saturated=mark["saturated"],
            guided=mark["guided"],
            coverage=mark["coverage"],
            guides_covered=np.asarray(mark["guides_covered"], np.float64),
            withheld=mark["withheld"],
            deviation_sum=np.asarray(mark["deviations"], np.float64),
            deviation_count=np.asarray(mark["doubted"], np.float64),
            artefacts=ArtefactSums.from_json(mark["artefacts"]),
            guide_artefacts=ArtefactSums.from_json(mark["guide_artefacts"]),
            indices=np.asarray(mark["indices"], np.float64).reshape(-1, *SUMS),
        )


@dataclass(frozen=True)
class GuideNoiseSummary:
    """The noise of the guide on its own pixels, and what is done against it.

    Attributes
    ----------
    std_per_band, error_per_band : tuple of float
        Standard deviation of the noise of each guide band, and its standard error, in the guide's units.
    white : bool
        False for noise that is not white, as of a guide that was compressed.
    filter_std_per_band : tuple of float or None
        Noise that the filter removes; None for a guide that is used as it is.
    gain_db : float
        By how much the filter lowers the error when the degraded scene is restored, dB.
    """

    std_per_band: tuple[float, ...]
    error_per_band: tuple[float, ...]
    white: bool
    filter_std_per_band: tuple[float, ...] | None
    gain_db: float


@dataclass(frozen=True)
class GuideSummary:
    """How the guide fits the scene, and where it is used.

    Attributes
    ----------
    shift_px, shift_error_px : (float, float)
        By how much the guide is displaced down and right, hr pixels, and the standard error of that, or None.
    moved_px : (float, float)
        The part of the shift that is undone, hr pixels: the guide is read that far down and right.
    shift : str
        The same in words: where the guide lay, and whether it was moved back.
    coverage, withheld : float
        Shares of the scene that the guide covers, and where it shows something else and is not used.
    field : mapping or None
        Local displacement; see `DisplacementField.summary`.
    relevance : tuple of float or None
        Share of each band's variance that the guide explains; None for bands without data.
    coverage_by_tile : tuple of tuple of float, or None
        Coverage of each tile, row by row; None if the guide covers the whole scene.
    noise : GuideNoiseSummary or None
        None if it is not estimated.
    bands_left_out : int or None
        Number of bands that were sharpened in a first step and are not used; None if all bands are used.
    coverage_by_guide : tuple of float, or None
        Share of the scene that each of several guides covers; None for one guide.
    """

    shift_px: tuple[float, float]
    shift_error_px: tuple[float, float] | None
    moved_px: tuple[float, float]
    coverage: float
    withheld: float
    field: Mapping[str, Any] | None
    relevance: tuple[float | None, ...] | None
    coverage_by_tile: tuple[tuple[float, ...], ...] | None = None
    noise: GuideNoiseSummary | None = None
    shift: str = ""
    coverage_by_guide: tuple[float, ...] | None = None
    bands_left_out: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping, without what is None by default."""
        return _fields_to_json(self)


@dataclass(frozen=True)
class ConsistencySummary:
    """How nearly the degraded product equals the scene.

    Attributes
    ----------
    rmse : float or None
        Of all bands, physical units; None if no pixel was compared.
    sam_deg : float or None
        Mean spectral angle, degrees; None with one band.
    rmse_per_band : tuple of float or None
    """

    rmse: float | None
    sam_deg: float | None
    rmse_per_band: tuple[float | None, ...]


@dataclass(frozen=True)
class BlurSummary:
    """The blur of the scene.

    Attributes
    ----------
    source : str
        See `Placement`.
    sigma_px, sigma_error_px : (float, float)
        Width and its standard error along y and x, hr pixels; the error is None where it was not estimated.
    gain : float or None
        MTF gain at the lr Nyquist frequency that is used, the mean of y and x.
    scene_gain, scene_gain_range : float and (float, float), or None
        The gain that the scene itself shows, and the range of a standard error; None where it was not estimated.
    assumption : str or None
        What is assumed of a blur that no guide shows, a sentence.
    """

    source: str
    sigma_px: tuple[float, float]
    sigma_error_px: tuple[float, float] | None
    gain: float | None = None
    scene_gain: float | None = None
    scene_gain_range: tuple[float, float] | None = None
    assumption: str | None = None


@dataclass(frozen=True)
class ClippingSummary:
    """Number of hr pixels raised to the scene's minimum, and of those at an end of the stored range."""

    below_minimum: int
    saturated: int


@dataclass(frozen=True)
class ArtefactSummary:
    """Artefacts of the product's mean band, which need no reference.

    Attributes
    ----------
    lattice, lattice_guide : float or None
        Modulation of the steps between hr pixels by their position in the scene's pixels, of the product and of the
        guide; None with too few windows, and without a guide.
    overshoot, overshoot_guide : float or None
        Share of hr pixels beyond the range of the lr pixels around them, of the product and of the guide.
    """

    lattice: float | None
    lattice_guide: float | None
    overshoot: float | None
    overshoot_guide: float | None


@dataclass(frozen=True)
class RunSummary:
    """What a run reports of its product.

    Attributes
    ----------
    output : str
    scale : int
        Ratio.
    shape : (int, int)
        Rows and columns.
    bands : int
    sensor : mapping or None
        The scene's sensor; see `SceneSensor.to_json`.
    model, fine : str
        Coarse model and fine stage.
    correction : mapping or None
        Shrinkage of each learned correction, and its Wald pairs.
    refinement : mapping or None
        Shrinkage of the fine stage, and its Wald pairs.
    guide : GuideSummary or None
    consistency : ConsistencySummary
    indices : mapping or None
        How the spectral indices of the product, degraded, differ from those of the scene; see `index_fidelity`. None if
        the scene has no bands of one.
    uncertainty : mapping or None
        Mean standard deviation per band, and the Wald pairs that it rests on.
    detail : mapping or None
        Shares of improved, omitted and hallucinated detail on the Wald pair.
    clipped : ClippingSummary
    artefacts : ArtefactSummary
    psf : BlurSummary
    noise : mapping
        Standard deviation of the noise per band, and its standard error.
    opened, notes : tuple of str
        What was decided in opening a delivered product, and what the user should know; sentences.
    seconds : float or None
    peak_memory_bytes : int or None
        Of this process.
    report : str or None
        The HTML page.
    classification : str or None
        The file of the class of each pixel, of a product that is delivered with one.
    already_finished : bool
        Whether an earlier run finished the product.
    """

    output: str
    scale: int
    shape: tuple[int, int]
    bands: int
    sensor: Mapping[str, Any] | None
    model: str
    fine: str
    correction: Mapping[str, Any] | None
    refinement: Mapping[str, Any] | None
    guide: GuideSummary | None
    consistency: ConsistencySummary
    indices: Mapping[str, Any] | None
    uncertainty: Mapping[str, Any] | None
    detail: Mapping[str, Any] | None
    clipped: ClippingSummary
    artefacts: ArtefactSummary
    psf: BlurSummary
    noise: Mapping[str, Any]
    opened: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float | None = None
    peak_memory_bytes: int | None = None
    report: str | None = None
    classification: str | None = None
    already_finished: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping, without what has its default."""
        return _fields_to_json(self)

    def provenance(self) -> dict[str, Any]:
        """Return what the product itself carries, as JSON; the same for every run of the same plan."""
        return {name: value for name, value in self.to_json().items() if name not in NOT_CARRIED}

    @classmethod
    def from_provenance(
        cls, provenance: Mapping[str, Any], *, output: str, shape: tuple[int, int], bands: int
    ) -> RunSummary:
        """Return the summary of a finished product, which carries `provenance`."""
        carried = {f.name: provenance[f.name] for f in fields(cls) if f.name not in NOT_CARRIED}
        values = {"output": output, "shape": list(shape), "bands": bands, **carried, "already_finished": True}
        return serialization.from_json(cls, values)


def _fields_to_json(value: GuideSummary | RunSummary) -> dict[str, Any]:
    """Return the fields as JSON, but for those that have their default."""
    return {
        f.name: serialization.to_json(getattr(value, f.name))
        for f in fields(value)
        if getattr(value, f.name) != f.default
    }
