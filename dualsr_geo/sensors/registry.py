"""Registry of the sensors: those of the package, and those that plugins add by entry point."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from dualsr_geo.argument_types import text
from dualsr_geo.errors import DualSRWarning, InputError, OptionError
from dualsr_geo.sensors.builtin import BUILT_IN
from dualsr_geo.sensors.definition import Sensor

ENTRY_POINT_GROUP = "dualsr_geo.sensors"
# Errors that the code of a plugin may raise while it is loaded; the other plugins are loaded nevertheless.
PLUGIN_ERRORS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, SyntaxError,
    TypeError, ValueError,
)  # fmt: skip

# Similarity (difflib ratio, 0..1) from which a name is suggested for an unknown one.
SIMILARITY = 0.4


@cache
def sensors() -> Mapping[str, Sensor]:
    """Return all sensors by name: built in, then those of the entry points ``dualsr_geo.sensors``.

    An entry point names a `Sensor` or several. A plugin that cannot be loaded is left out with a
    warning, and so is a sensor whose name another one has.
    """
    registry = {sensor.name: sensor for sensor in BUILT_IN}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.value):
        try:
            plugin_sensors = _load(point)
        except PLUGIN_ERRORS as error:
            _warn(point, f"cannot be loaded ({type(error).__name__}: {error})")
            continue
        for sensor in plugin_sensors:
            if sensor.name in registry:
                _warn(point, f"adds `{sensor.name}`, a name that another sensor has")
            else:
                registry[sensor.name] = sensor
    return MappingProxyType(registry)


def find(name: str) -> Sensor:
    """Return a sensor by its name, or by an alias, in any case; an alias of a sensor and its pan band is the sensor's.

    Raises
    ------
    OptionError
        If there is none; the message names the nearest.
    """
    text("name", name)
    registry = sensors()
    if name in registry:
        return registry[name]
    candidates = [s for s in registry.values() if normalised(name) in {normalised(a) for a in (s.name, *s.aliases)}]
    pans = {s.guide for s in candidates}
    if len(main := [s for s in candidates if s.name not in pans]) == 1:
        return main[0]
    if candidates:
        *others, last = [s.name for s in candidates]
        raise OptionError(f"`{name}` may be {', '.join(others)} or {last}. Give one of these names.")
    near = difflib.get_close_matches(name.lower(), registry, 3, cutoff=SIMILARITY)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise OptionError(
        f"There is no sensor `{name}`.{hint} Give one of `dualsr-geo sensors list`, or install its plugin (docs/sensors.md)."
    )


def normalised(name: str) -> str:
    """Return a name in lower case without spaces and punctuation, for comparisons."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _load(point: EntryPoint) -> tuple[Sensor, ...]:
    value = point.load()
    values = (value,) if isinstance(value, Sensor) else tuple(value) if isinstance(value, Iterable) else ()
    if not values or not all(isinstance(s, Sensor) for s in values):
        raise InputError(f"{point.value} is {type(value).__name__}, not a Sensor or a sequence of sensors")
    return values


def _warn(point: EntryPoint, problem: str) -> None:
    package = f" of {point.dist.name}" if point.dist is not None else ""
    warnings.warn(
        f"The sensor plugin {point.name}{package} {problem}; it is left out. Correct or uninstall the plugin.",
        DualSRWarning,
        stacklevel=3,
    )
