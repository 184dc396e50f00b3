"""What the layouts of Sentinel-2 share: bands and their pixel sizes, the offset of the values, and sentences about them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from dualsr_geo.errors import InputError
from dualsr_geo.io.products.delivery import choose_gsd

# Bands by the GSD at which they are measured, metres. L2A also has copies of finer bands at 20 m and 60 m.
NATIVE_BANDS: Mapping[float, tuple[str, ...]] = {
    10: ("B02", "B03", "B04", "B08"),
    20: ("B05", "B06", "B07", "B8A", "B11", "B12"),
    60: ("B01", "B09", "B10"),
}
# The cirrus band measures the atmosphere and has no surface reflectance.
NOT_IN_L2A = ("B10",)
# From this processing baseline on, 1000 is added to stored values, so that dark pixels are above 0.
OFFSET_BASELINE = 4.0
ADDED_OFFSET = -1000.0
# Baselines above are no operational ones: tests of ESA, and products that users made with Sen2Cor.
LAST_BASELINE = 90.0
DIVISOR = 10000.0
NODATA = 0.0


def bands_of_level(level: str) -> dict[float, tuple[str, ...]]:
    """Return the names of the bands by GSD (metres) of a level, ``"L1C"`` or ``"L2A"``."""
    missing = NOT_IN_L2A if level == "L2A" else ()
    return {gsd: tuple(n for n in names if n not in missing) for gsd, names in NATIVE_BANDS.items()}


def present_groups(
    groups: Mapping[float, Sequence[str]], present: Mapping[float, Collection[str]], where: str
) -> dict[float, tuple[str, ...]]:
    """Return the groups of bands that can be opened.

    A group without any band is left out, and so are missing ones of the finest group, which are only guides: what
    guides need not be complete.

    Parameters
    ----------
    groups : mapping of float to sequence of str
        Names of the bands by GSD, metres.
    present : mapping of float to collection of str
        Names of those that are there.
    where : str
        Name of the product in the error message.

    Raises
    ------
    InputError
        If there are none.
    """
    finest = min(groups)
    available = {
        gsd: tuple(n for n in names if gsd != finest or n in present.get(gsd, ()))
        for gsd, names in groups.items()
        if any(n in present.get(gsd, ()) for n in names)
    }
    if not available:
        listed = "; ".join(f"{', '.join(names)} at {gsd:g} m" for gsd, names in sorted(groups.items()))
        raise InputError(f"{where} holds none of the bands of Sentinel-2: {listed}. Fetch them.")
    return available


def choose_group(
    groups: Mapping[float, Sequence[str]], available: Mapping[float, Sequence[str]], gsd: float | None, where: str
) -> tuple[float, float | None]:
    """Return the GSD of the scene and that of its guide, or None, as `choose_gsd` does for what is there.

    Without the finest bands the next ones are the scene, and not the guide of the coarsest.
    """
    if gsd is None and min(groups) not in available:
        gsd = min(available)
    return choose_gsd(available, gsd, where)


def guide_note(groups: Mapping[float, Sequence[str]], available: Mapping[float, Sequence[str]]) -> tuple[str, ...]:
    """Return a sentence about missing bands of the finest pixels; none where all are there."""
    finest = min(groups)
    lacking = [n for n in groups[finest] if n not in available.get(finest, ())]
    if not lacking:
        return ()
    names = ", ".join(lacking)
    if finest not in available:
        return (f"The {finest:g} m bands ({names}) are missing, so the product has no guide of {finest:g} m.",)
    return (f"Of the {finest:g} m bands {names} {'is' if len(lacking) == 1 else 'are'} missing.",)


def baseline_of(text: str) -> float | None:
    """Return the processing baseline in a name (``_N0509_``, ``_N02.05``) or a number (``05.09``, ``N01.01``)."""
    match = re.search(r"(?:^|_)N?(\d\d)\.(\d\d)(?=$|\D)", text) or re.search(r"_N(\d\d)(\d\d)(?=_|\.|$)", text)
    return None if match is None else float(f"{match[1]}.{match[2]}")


def has_offset(baseline: float) -> bool | None:
    """Say whether values of a processing baseline have the offset; None where the baseline does not decide it."""
    return None if baseline >= LAST_BASELINE else baseline >= OFFSET_BASELINE


def value_note(level: str, baseline: str | None, offsets: Collection[float]) -> str:
    """Return the sentence about the values of a product.

    Parameters
    ----------
    level : str
    baseline : str or None
        The processing baseline; None where it is not known.
    offsets : collection of float
        Offsets added to stored values.
    """
    quantity = {"L1C": "top-of-atmosphere reflectance", "L2A": "surface reflectance"}.get(level, "reflectance")
    stated = "" if baseline is None else f" processing baseline {baseline},"
    numbers = sorted(set(offsets) - {0.0})
    offset_text = f"offset {', '.join(f'{v:g}' for v in numbers)}" if numbers else "no offset"
    return f"Values are {quantity};{stated} {offset_text}."


def padded(name: str) -> str:
    """Return B1 as B01; B8A is unchanged."""
    return re.sub(r"^B(\d)$", r"B0\1", name)
