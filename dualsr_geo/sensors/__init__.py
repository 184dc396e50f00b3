"""Instruments: bands, responses, MTF and packing, each with its source; plugins add more."""

from __future__ import annotations

from dualsr_geo.sensors.definition import Sensor, SensorBand, Sources, UsualPacking, read_bands, read_responses
from dualsr_geo.sensors.registry import find, sensors

__all__ = ["Sensor", "SensorBand", "Sources", "UsualPacking", "find", "read_bands", "read_responses", "sensors"]
