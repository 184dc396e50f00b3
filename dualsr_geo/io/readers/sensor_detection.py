"""Which instrument took a scene: as the user says, as the metadata says, or as it looks; and what follows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dualsr_geo.errors import OptionError
from dualsr_geo.raster import grid
from dualsr_geo.raster.bands import Band
from dualsr_geo.raster.scene import Scene, SceneSensor
from dualsr_geo.sensors.definition import Sensor
from dualsr_geo.sensors.registry import find, plain, sensors

# Tags that name an instrument or its satellite, and keys that end so (DATATAKE_1_SPACECRAFT_NAME).
KEYS = (
    "sensor", "sensorname", "sensortype", "sensorid", "satellite", "satellitename", "satelliteid", "satid",
    "spacecraft", "spacecraftname", "spacecraftid", "platform", "platformname", "platformshortname", "mission",
    "instrument", "instrumentname", "instrumentshortname", "camera", "exifmodel", "tifftagmodel",
)  # fmt: skip
# Pixels this much larger or smaller than at nadir are no obliquity any more; doubled pixels are 2.
GSD_TOLERANCE = 1.7
# Its metres are not those on the ground.
WEB_MERCATOR = "EPSG:3857"
# A scene looks like a spectrometer whose bands all lie within this share of its least FWHM.
RESEMBLANCE = 0.5
# Fewer bands look like too many instruments.
FEWEST_BANDS = 16


@dataclass(frozen=True)
class Detected:
    """An instrument found in a scene's metadata.

    Attributes
    ----------
    sensor : Sensor
    why : str
        What says so.
    sure : bool
        True where a tag names it and nothing contradicts.
    """

    sensor: Sensor
    why: str
    sure: bool


def add_sensor(scene: Scene, sensor: str | None = None, delivered: str = "") -> Scene:
    """Complete a scene by what its instrument is known to be.

    Parameters
    ----------
    scene : Scene
        With all its bands.
    sensor : str or None
        The instrument's name, if the user gives one; else the metadata is asked.
    delivered : str
        The one whose product was opened; empty for a plain raster.

    Returns
    -------
    Scene
        With `Scene.sensor`. Where the instrument is given, or sure, its wavelengths and FWHM stand
        where the file has none, and bands in its bad windows are marked bad.

    Raises
    ------
    OptionError
        If there is no such sensor, or the scene contradicts it in bands, wavelengths or pixel size.
    """
    if sensor is not None:
        return with_sensor(scene, find(sensor), "as given")
    found = _best(scene, [find(delivered)], "whose product this is") if delivered else detect(scene)
    if found is None:
        return scene
    if found.sure:
        return with_sensor(scene, found.sensor, found.why)
    return replace(scene, sensor=SceneSensor(found.sensor.name, found.why, used=False))


def add_sensor_of_bands(scene: Scene, bands: Sequence[Band], places: Sequence[int], sensor: str | None) -> Scene:
    """Complete a scene of some bands of a file, whose instrument all bands of the file identify.

    Parameters
    ----------
    scene : Scene
    bands : sequence of Band
        Those of the file.
    places : sequence of int
        Where each band of the scene is among them.
    sensor : str or None
        The instrument's name, if the user gives one.

    Raises
    ------
    OptionError
        See `add_sensor`.
    """
    whole = add_sensor(replace(scene, bands=tuple(bands)), sensor)
    chosen = tuple(whole.bands[i] for i in places)
    return replace(scene, bands=chosen, sensor=None if whole.sensor is None else whole.sensor.select(places))


def with_sensor(scene: Scene, sensor: Sensor, why: str) -> Scene:
    """Complete a scene by the numbers of an instrument.

    Raises
    ------
    OptionError
        If the scene contradicts it in bands, wavelengths or pixel size.
    """
    order = match(scene, sensor)
    bands = tuple(_completed(b, sensor, i) for b, i in zip(scene.bands, order, strict=True))
    gains = tuple(sensor.bands[i].mtf_gain for i in order) if sensor.mtf_measured else ()
    return replace(scene, bands=bands, sensor=SceneSensor(sensor.name, why, used=True, mtf_gains=gains))


def detect(scene: Scene) -> Detected | None:
    """Find the instrument in tags and attributes, or by resemblance of many wavelengths.

    Returns
    -------
    Detected or None
        Sure only if a tag spells a name or alias of a sensor exactly and the scene does not contradict it.
    """
    for key, value in _named(scene):
        # Those without an alias (pan, say) are no instrument that a tag could mean.
        meant = [
            s for s in sensors().values() if s.aliases and plain(value) in {plain(a) for a in (s.name, *s.aliases)}
        ]
        if meant:
            return _best(scene, meant, f"from the tag {key}={value}")
    return _alike(scene)


def match(scene: Scene, sensor: Sensor) -> tuple[int, ...]:
    """Return which band of an instrument each band of a scene is, zero-based.

    By wavelength where the scene knows one of its own, else by name, else by order.

    Raises
    ------
    OptionError
        If a wavelength or the pixel size is not the instrument's, or a band can be told by none of these.
    """
    if any(b.wavelength_nm is not None for b in scene.bands):
        order = _by_wavelength(scene.bands, sensor)
    else:
        order = _by_name(scene.bands, sensor) or _by_order(scene.bands, sensor)
    _require_gsd(scene, sensor, order)
    return order


def _by_wavelength(bands: Sequence[Band], sensor: Sensor) -> tuple[int, ...]:
    if len(bands) != len(sensor.bands) and any(b.wavelength_nm is None for b in bands):
        which = next(i for i, b in enumerate(bands, 1) if b.wavelength_nm is None)
        raise OptionError(
            f"Band {which} of the scene has no wavelength, and its {len(bands)} bands are not the {len(sensor.bands)} of "
            f"{sensor.name}. Select the bands that have one by --bidx, or leave --sensor out."
        )
    nm = np.array([np.nan if b.wavelength_nm is None else b.wavelength_nm for b in bands])
    centres, widths = sensor.wavelengths_nm, np.array([b.fwhm_nm for b in sensor.bands])
    # Detectors overlap: bands in the sensor's own order are not taken for their nearest neighbours.
    if len(nm) == len(centres) and (np.isnan(nm) | (np.abs(nm - centres) <= widths)).all():
        return tuple(range(len(nm)))
    off = np.abs(centres - nm[:, None])
    nearest = off.argmin(1)
    far = np.flatnonzero(off.min(1) > widths[nearest])
    if far.size:
        at, own = int(far[0]), sensor.bands[nearest[far[0]]]
        raise OptionError(
            f"Band {at + 1} of the scene lies at {nm[at]:g} nm, but the nearest of {sensor.name} is {own.name} at "
            f"{own.wavelength_nm:g} nm, {own.fwhm_nm:g} nm wide. Give the --sensor that took it, or none."
        )
    return tuple(int(i) for i in nearest)


def _by_name(bands: Sequence[Band], sensor: Sensor) -> tuple[int, ...] | None:
    own = {_short(b.name): i for i, b in enumerate(sensor.bands)}
    found = [own.get(_short(b.name)) if b.name and not b.name.isdecimal() else None for b in bands]
    return tuple(i for i in found if i is not None) if None not in found else None


def _short(name: str | None) -> str:
    """Return a band's name as others may spell it: B2 is B02."""
    return re.sub(r"(?<=[a-z])0+(?=\d)", "", plain(name or ""))


def _by_order(bands: Sequence[Band], sensor: Sensor) -> tuple[int, ...]:
    if len(bands) == len(sensor.bands):
        return tuple(range(len(bands)))
    named = [b.name for b in sensor.bands if not b.name.isdecimal()]
    names = f" and without names of the sensor's ({', '.join(named)})" if named else ""
    raise OptionError(
        f"{sensor.name} has {len(sensor.bands)} bands, the scene {len(bands)}, without wavelengths{names}. "
        "Give a scene that says which bands it has, or leave --sensor out and give --mtf-gain."
    )


def _require_gsd(scene: Scene, sensor: Sensor, order: Sequence[int]) -> None:
    if grid.unit(scene.geobox) != "m" or grid.crs_name(scene.geobox) == WEB_MERCATOR:
        return
    there = grid.gsd(scene.geobox)
    for i in order:
        band = sensor.bands[i]
        if band.gsd_m is not None and not 1 / GSD_TOLERANCE < there / band.gsd_m < GSD_TOLERANCE:
            raise OptionError(
                f"The scene has pixels of {there:.4g} m, but {band.name} of {sensor.name} has {band.gsd_m:g} m. "
                "Give the scene on its own grid, as delivered, or leave --sensor out."
            )


def _completed(band: Band, sensor: Sensor, index: int) -> Band:
    """Return a band with centre and width where it has none, and bad where the air is black."""
    own = sensor.bands[index]
    nm = own.wavelength_nm if band.wavelength_nm is None else band.wavelength_nm
    black = any(low <= nm <= high for low, high in sensor.bad_windows_nm)
    return replace(
        band,
        wavelength_nm=nm,
        fwhm_nm=own.fwhm_nm if band.fwhm_nm is None else band.fwhm_nm,
        good=band.good and not black,
    )


def _named(scene: Scene) -> Iterator[tuple[str, str]]:
    """Yield what a scene's tags and attributes say under the keys that name instruments."""
    domains = [*scene.tags.values(), scene.attrs]
    for items in domains:
        for key, value in items.items():
            if isinstance(value, str) and plain(key).endswith(KEYS):
                yield str(key), value.strip().strip("\"'{}")


def _best(scene: Scene, meant: Sequence[Sensor], why: str) -> Detected:
    """Return the one of a satellite's instruments that the scene does not contradict."""
    contradictions = []
    for sensor in meant:
        try:
            match(scene, sensor)
        except OptionError as error:
            # The way out speaks of an option that was not given.
            contradictions.append(str(error).partition(". ")[0])
        else:
            return Detected(sensor, why, sure=True)
    first = meant[0].name
    return Detected(meant[0], f"{first}, {why}; its numbers are not used: {contradictions[0]}", sure=False)


def _alike(scene: Scene) -> Detected | None:
    """Return the spectrometer whose wavelengths a scene has."""
    nm = np.array([b.wavelength_nm or np.nan for b in scene.bands])
    if len(nm) < FEWEST_BANDS:
        return None
    alike = {}
    for sensor in sensors().values():
        if len(sensor.bands) == len(nm):
            # Providers put the bands where two detectors overlap in one order or another.
            off = np.abs(np.sort(sensor.wavelengths_nm) - np.sort(nm))
            if (off <= RESEMBLANCE * min(b.fwhm_nm for b in sensor.bands)).all():
                alike[sensor.name] = float(off.max())
    if not alike:
        return None
    name = min(alike, key=lambda n: alike[n])
    why = f"looks like {name}, whose {len(nm)} wavelengths differ by {alike[name]:.2g} nm at most"
    return Detected(sensors()[name], f"{why}; give --sensor {name} to use what is known of it", sure=False)
