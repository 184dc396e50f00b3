"""The sensors of the package: one module per family, their tables as CSV in `data/`.

To add a sensor, append it to the `SENSORS` of its family, or write a module with `SENSORS` and add it here.
A plugin adds one without a change of the package (docs/extend/sensor.md).
"""

from __future__ import annotations

from dualsr_geo.sensors import airbus, cameras, cbers, eo1, landsat, planet, sentinel, spectrometers, worldview
from dualsr_geo.sensors.definition import Sensor

BUILT_IN: tuple[Sensor, ...] = (
    *worldview.SENSORS,
    *airbus.SENSORS,
    *planet.SENSORS,
    *sentinel.SENSORS,
    *landsat.SENSORS,
    *cbers.SENSORS,
    *eo1.SENSORS,
    *spectrometers.SENSORS,
    *cameras.SENSORS,
)
