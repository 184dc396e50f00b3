"""The instruments that are known: those of the package, and those that plugins bring by entry point."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from dualsr_geo.errors import DualSRWarning, InputError, OptionError
from dualsr_geo.sensors.builtin import BUILT_IN
from dualsr_geo.sensors.definition import Sensor

GROUP = "dualsr_geo.sensors"
# What a plugin's own code may raise while it is loaded; one that does must not take the others along.
BROKEN = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, SyntaxError,
    TypeError, ValueError,
)  # fmt: skip


@cache
def sensors() -> Mapping[str, Sensor]:
    """Return all sensors by name: built in, then those of the entry points ``dualsr_geo.sensors``.

    An entry point names a `Sensor` or several. One that cannot be loaded, or takes a name that is
    taken, is left out with a warning.
    """
    found = {sensor.name: sensor for sensor in BUILT_IN}
    for point in sorted(entry_points(group=GROUP), key=lambda p: p.value):
        try:
            brought = _brought(point)
        except BROKEN as error:
            _warn(point, f"cannot be loaded ({type(error).__name__}: {error})")
            continue
        for sensor in brought:
            if sensor.name in found:
                _warn(point, f"brings `{sensor.name}`, a name that another sensor has")
            else:
                found[sensor.name] = sensor
    return MappingProxyType(found)


def find(name: str) -> Sensor:
    """Return a sensor by its name, or by an alias that only one has.

    Raises
    ------
    OptionError
        If there is none, naming the nearest.
    """
    known = sensors()
    if name in known:
        return known[name]
    meant = [s for s in known.values() if plain(name) in {plain(a) for a in (s.name, *s.aliases)}]
    if len(meant) == 1:
        return meant[0]
    near = [s.name for s in meant] or difflib.get_close_matches(name.lower(), known, 3, cutoff=0.4)
    said = f"; {' or '.join(near)} may be meant" if near else ""
    raise OptionError(
        f"There is no sensor `{name}`{said}. Give one of `dualsr-geo sensors list`, or install its plugin (docs/sensors.md)."
    )


def plain(text: str) -> str:
    """Return a name without capitals, spaces and punctuation, to compare it with others."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _brought(point: EntryPoint) -> tuple[Sensor, ...]:
    loaded = point.load()
    several = (loaded,) if isinstance(loaded, Sensor) else tuple(loaded) if isinstance(loaded, Iterable) else ()
    if not several or not all(isinstance(s, Sensor) for s in several):
        raise InputError(f"{point.value} is {type(loaded).__name__}, no Sensor and no sequence of them")
    return several


def _warn(point: EntryPoint, what: str) -> None:
    of = f" of {point.dist.name}" if point.dist is not None else ""
    warnings.warn(
        f"The sensor plugin {point.name}{of} {what}; it is left out. Mend or uninstall it.", DualSRWarning, stacklevel=3
    )
