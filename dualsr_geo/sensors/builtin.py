"""The instruments that come with the package: one module a family, their tables as CSV in `data/`."""

from __future__ import annotations

from dualsr_geo.sensors import cameras, landsat, sentinel, spectrometers, worldview
from dualsr_geo.sensors.definition import Sensor

BUILT_IN: tuple[Sensor, ...] = (
    *worldview.SENSORS,
    *sentinel.SENSORS,
    *landsat.SENSORS,
    *spectrometers.SENSORS,
    *cameras.SENSORS,
)
