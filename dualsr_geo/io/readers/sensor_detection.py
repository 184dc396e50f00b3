"""Identification of the sensor of a scene: as the user states, from metadata, or by its wavelengths."""

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
from dualsr_geo.sensors.registry import find, normalised, sensors

# Ends of the tags that name an instrument or its satellite (DATATAKE_1_SPACECRAFT_NAME), normalised.
SENSOR_KEYS = (
    "sensor", "sensorname", "sensortype", "sensorid", "satellite", "satellitename", "satelliteid", "satid",
    "spacecraft", "spacecraftname", "spacecraftid", "platform", "platformname", "platformshortname", "mission",
    "instrument", "instrumentname", "instrumentshortname", "camera", "exifmodel", "tifftagmodel",
)  # fmt: skip
# Largest factor between the pixel size of a scene and that of the sensor at nadir: oblique views stay
# below it, pixels doubled by resampling do not.
GSD_FACTOR = 1.7
# Its metres are not those on the ground.
WEB_MERCATOR = "EPSG:3857"
# A scene resembles a spectrometer if every wavelength agrees within this fraction of its smallest FWHM.
RESEMBLANCE_FWHM = 0.5
# Fewest bands whose wavelengths can identify an instrument; fewer resemble too many.
MIN_BANDS = 16


@dataclass(frozen=True)
class Detected:
    """A sensor found in the metadata of a scene.

    Attributes
    ----------
    sensor : Sensor
    why : str
        The metadata that identify it.
    sure : bool
        True where a tag names it and nothing contradicts.
    """

    sensor: Sensor
    why: str
    sure: bool


def add_sensor(scene: Scene, sensor: str | None = None, delivered: str = "") -> Scene:
    """Identify the sensor of a scene and add the properties of its bands.

    Parameters
    ----------
    scene : Scene
        With all its bands.
    sensor : str or None
        Name of the sensor, if the user gives one; else it is detected from the metadata.
    delivered : str
        The sensor whose product was opened; empty for a plain raster.

    Returns
    -------
    Scene
        With `Scene.sensor`. Where the sensor is given or sure, bands without wavelength or FWHM get those
        of the sensor, and bands in its bad windows are marked as bad.

    Raises
    ------
    OptionError
        If there is no such sensor, or the scene contradicts it in bands, wavelengths or pixel size.
    """
    if sensor is not None:
        return with_sensor(scene, find(sensor), "as given")
    detected = _consistent(scene, [find(delivered)], "whose product this is") if delivered else detect(scene)
    if detected is None:
        return scene
    if detected.sure:
        return with_sensor(scene, detected.sensor, detected.why)
    return replace(scene, sensor=SceneSensor(detected.sensor.name, detected.why, used=False))


def add_sensor_of_bands(scene: Scene, bands: Sequence[Band], places: Sequence[int], sensor: str | None) -> Scene:
    """Identify the sensor of a scene of some bands of a file by all bands of the file.

    Parameters
    ----------
    scene : Scene
    bands : sequence of Band
        Those of the file.
    places : sequence of int
        Index in `bands` of each band of the scene.
    sensor : str or None
        Name of the sensor, if the user gives one.

    Raises
    ------
    OptionError
        See `add_sensor`.
    """
    whole = add_sensor(replace(scene, bands=tuple(bands)), sensor)
    chosen = tuple(whole.bands[i] for i in places)
    return replace(scene, bands=chosen, sensor=None if whole.sensor is None else whole.sensor.select(places))


def with_sensor(scene: Scene, sensor: Sensor, why: str) -> Scene:
    """Add the properties of a sensor to a scene.

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
    """Find the sensor in tags and attributes, or by the resemblance of many wavelengths.

    Returns
    -------
    Detected or None
        Sure only if a tag spells a name or alias of a sensor exactly and the scene does not contradict it.
    """
    for key, value in _sensor_tags(scene):
        # A tag cannot mean a sensor without aliases ("pan").
        candidates = [
            s
            for s in sensors().values()
            if s.aliases and normalised(value) in {normalised(a) for a in (s.name, *s.aliases)}
        ]
        if candidates:
            return _consistent(scene, candidates, f"from the tag {key}={value}")
    return _resembling(scene)


def match(scene: Scene, sensor: Sensor) -> tuple[int, ...]:
    """Return the zero-based band of the sensor for each band of a scene.

    By wavelength where the scene has wavelengths, else by name, else by order.

    Raises
    ------
    OptionError
        If a wavelength or the pixel size is not the sensor's, or bands cannot be matched by any of these.
    """
    if any(b.wavelength_nm is not None for b in scene.bands):
        order = _by_wavelength(scene.bands, sensor)
    else:
        order = _by_name(scene.bands, sensor) or _by_order(scene.bands, sensor)
    _require_gsd(scene, sensor, order)
    return order


def _by_wavelength(bands: Sequence[Band], sensor: Sensor) -> tuple[int, ...]:
    if len(bands) != len(sensor.bands) and any(b.wavelength_nm is None for b in bands):
        missing = next(i for i, b in enumerate(bands, 1) if b.wavelength_nm is None)
        raise OptionError(
            f"Band {missing} of the scene has no wavelength, and its {len(bands)} bands are not the "
            f"{len(sensor.bands)} of {sensor.name}. Select the bands that have one by --bidx, or leave --sensor out."
        )
    nm = np.array([np.nan if b.wavelength_nm is None else b.wavelength_nm for b in bands])
    centres, widths = sensor.wavelengths_nm, np.array([b.fwhm_nm for b in sensor.bands])
    # Detectors overlap: bands in the order of the sensor are not matched to their nearest neighbours.
    if len(nm) == len(centres) and (np.isnan(nm) | (np.abs(nm - centres) <= widths)).all():
        return tuple(range(len(nm)))
    distances = np.abs(centres - nm[:, None])
    nearest = distances.argmin(1)
    far = np.flatnonzero(distances.min(1) > widths[nearest])
    if far.size:
        index, band = int(far[0]), sensor.bands[nearest[far[0]]]
        raise OptionError(
            f"Band {index + 1} of the scene is at {nm[index]:g} nm, but the nearest of {sensor.name} is {band.name} at "
            f"{band.wavelength_nm:g} nm, {band.fwhm_nm:g} nm wide. Give the --sensor that took it, or none."
        )
    return tuple(int(i) for i in nearest)


def _by_name(bands: Sequence[Band], sensor: Sensor) -> tuple[int, ...] | None:
    indices = {_short(b.name): i for i, b in enumerate(sensor.bands)}
    matches = [indices.get(_short(b.name)) if b.name and not b.name.isdecimal() else None for b in bands]
    return tuple(i for i in matches if i is not None) if None not in matches else None


def _short(name: str | None) -> str:
    """Return a band's name without leading zeros of numbers: B02 is also written B2."""
    return re.sub(r"(?<=[a-z])0+(?=\d)", "", normalised(name or ""))


def _by_order(bands: Sequence[Band], sensor: Sensor) -> tuple[int, ...]:
    if len(bands) == len(sensor.bands):
        return tuple(range(len(bands)))
    sensor_names = [b.name for b in sensor.bands if not b.name.isdecimal()]
    names = f" or band names of the sensor ({', '.join(sensor_names)})" if sensor_names else ""
    raise OptionError(
        f"{sensor.name} has {len(sensor.bands)} bands, the scene {len(bands)}, without wavelengths{names}. "
        "Give a scene with wavelengths or names of its bands, or leave --sensor out and give --mtf-gain."
    )


def _require_gsd(scene: Scene, sensor: Sensor, order: Sequence[int]) -> None:
    if grid.unit(scene.geobox) != "m" or grid.crs_name(scene.geobox) == WEB_MERCATOR:
        return
    gsd_m = grid.gsd(scene.geobox)
    for i in order:
        band = sensor.bands[i]
        if band.gsd_m is not None and not 1 / GSD_FACTOR < gsd_m / band.gsd_m < GSD_FACTOR:
            raise OptionError(
                f"The scene has pixels of {gsd_m:.4g} m, but {band.name} of {sensor.name} has {band.gsd_m:g} m. "
                "Give the scene on its own grid, as delivered, or leave --sensor out."
            )


def _completed(band: Band, sensor: Sensor, index: int) -> Band:
    """Return a band with the sensor's centre and width where it has none; bad inside the sensor's bad windows."""
    definition = sensor.bands[index]
    nm = definition.wavelength_nm if band.wavelength_nm is None else band.wavelength_nm
    absorbed = any(low <= nm <= high for low, high in sensor.bad_windows_nm)
    return replace(
        band,
        wavelength_nm=nm,
        fwhm_nm=definition.fwhm_nm if band.fwhm_nm is None else band.fwhm_nm,
        good=band.good and not absorbed,
    )


def _sensor_tags(scene: Scene) -> Iterator[tuple[str, str]]:
    """Yield the tags and attributes of a scene whose keys name instruments."""
    for items in (*scene.tags.values(), scene.attrs):
        for key, value in items.items():
            if isinstance(value, str) and normalised(key).endswith(SENSOR_KEYS):
                yield str(key), value.strip().strip("\"'{}")


def _consistent(scene: Scene, candidates: Sequence[Sensor], why: str) -> Detected:
    """Return the first candidate that the scene does not contradict; not sure if it contradicts all."""
    contradictions = []
    for sensor in candidates:
        try:
            match(scene, sensor)
        except OptionError as error:
            # Without its second sentence, which names an option that the user did not give.
            contradictions.append(str(error).partition(". ")[0])
        else:
            return Detected(sensor, why, sure=True)
    first = candidates[0].name
    return Detected(candidates[0], f"{first}, {why}; its numbers are not used: {contradictions[0]}", sure=False)


def _resembling(scene: Scene) -> Detected | None:
    """Return the spectrometer that has the wavelengths of a scene."""
    nm = np.array([b.wavelength_nm or np.nan for b in scene.bands])
    if len(nm) < MIN_BANDS:
        return None
    largest_nm = {}
    for sensor in sensors().values():
        if len(sensor.bands) == len(nm):
            # Providers order the bands where two detectors overlap in one way or the other.
            differences = np.abs(np.sort(sensor.wavelengths_nm) - np.sort(nm))
            if (differences <= RESEMBLANCE_FWHM * min(b.fwhm_nm for b in sensor.bands)).all():
                largest_nm[sensor.name] = float(differences.max())
    if not largest_nm:
        return None
    name = min(largest_nm, key=lambda n: largest_nm[n])
    why = f"looks like {name}, whose {len(nm)} wavelengths differ by {largest_nm[name]:.2g} nm at most"
    return Detected(sensors()[name], f"{why}; give --sensor {name} to use its properties", sure=False)
