"""The section of the results page on what real guides and blurs cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean

import table
from cases import number
from combinations import GUIDED_CONTENDERS, GUIDES, REAL, REAL_BLURS, REAL_SETTINGS, real_grid
from contenders import CONTENDERS
from degradations import ALL_DEGRADATIONS
from disturbances import REALITIES

# Ours, the baseline, and that of the figures without a guide.
OURS, BICUBIC, SPLINE = "auto", "bicubic", "spline"
# The table of that grid, next to that of the default grid.
CSV = "reality.csv"
# PSNR in dB and SAM of a run.
Scores = tuple[float, float]


def section(rows: Sequence[table.Row]) -> Iterator[str]:
    """Yield the section; nothing where the grid was not run."""
    wanted = {one.key for one in real_grid()}
    found = {
        table.key(row): (psnr, sam)
        for row in rows
        if table.key(row) in wanted
        and (psnr := number(row, "psnr_db")) is not None
        and (sam := number(row, "sam_deg")) is not None
    }
    if not any(key[-1] in CONTENDERS for key in found):
        return
    yield "## What reality costs"
    yield (
        f"`python examples/benchmark/run.py --only {REAL}`, ratio 4. Others are written from their papers' equations, are "
        "given the true blur and response, and the best of three or four settings of each case counts, chosen by the reference:"
    )
    yield "\n".join(f"* `{name}`: {contender.sentence}" for name, contender in CONTENDERS.items())
    yield "The guide (protocol `mtf`, blur estimated by ours):"
    yield "\n".join(f"* `{name}`: {d.sentence}" for name, d in REALITIES.items() if d.needs == "guide")
    yield (
        f"PSNR of `{OURS}` with the disturbance minus that with the clean guide, and minus that of each other method with the "
        "same guide: mean, and worst in brackets, dB. SAM: mean ratio to that with the clean guide."
    )
    yield _table(*disturbed(found))
    yield (
        "Without a guide, the blur not given: gain over a cubic spline of the same scene, mean and worst in dB, and SAM as mean "
        "and worst ratio to the spline's:"
    )
    yield "\n".join(f"* `{name}`: {ALL_DEGRADATIONS[name].sentence}" for name in REAL_BLURS)
    yield _table(*blurred(found))


def disturbed(found: dict[tuple[str, ...], Scores]) -> tuple[list[str], list[list[str]]]:
    """Return heading and lines on disturbed guides."""
    rivals = (BICUBIC, *GUIDED_CONTENDERS)
    lines = []
    for guide in (*GUIDES, "rg", "rgbn"):
        for name in ("none", *REALITIES):
            ours = {k: v for k, v in found.items() if k[1] == guide and k[4] == name and k[5] == OURS}
            if ours:
                clean = [(v, found.get((*k[:4], "none", OURS))) for k, v in ours.items()]
                changes = [(v, c) for v, c in clean if c is not None]
                others = [_gains(ours, found, name, rival) for rival in rivals]
                shares = f"{mean(v[1] / c[1] for v, c in changes):.2f}" if changes else ""
                cost = _spread([v[0] - c[0] for v, c in changes])
                lines.append([guide, name, str(len(ours)), "" if name == "none" else cost, shares, *others])
    return ["guide", "disturbance", "cases", "cost", "SAM", *(f"over `{rival}`" for rival in rivals)], lines


def _gains(ours: dict[tuple[str, ...], Scores], found: dict[tuple[str, ...], Scores], name: str, rival: str) -> str:
    """Return by how much ours is better than another, which uses the same guide or none."""
    gains = []
    for key, (psnr, _) in ours.items():
        guide, disturbance = ("none", "none") if rival == BICUBIC else (key[1], name)
        other = found.get((key[0], guide, key[2], key[3], disturbance, rival))
        if other is not None:
            gains.append(psnr - other[0])
    return _spread(gains)


def blurred(found: dict[tuple[str, ...], Scores]) -> tuple[list[str], list[list[str]]]:
    """Return heading and lines on scenes without a guide."""
    lines = []
    for blur in REAL_BLURS:
        cells = []
        for ratio, noise in REAL_SETTINGS:
            pairs = [
                (v, found[*k[:5], SPLINE])
                for k, v in found.items()
                if k[1:] == ("none", str(ratio), blur, noise, OURS) and (*k[:5], SPLINE) in found
            ]
            shares = [v[1] / c[1] for v, c in pairs]
            cells.append(
                f"{_spread([v[0] - c[0] for v, c in pairs])}, {mean(shares):.2f} ({max(shares):.2f})" if pairs else ""
            )
        lines.append([blur, *cells])
    return ["blur", *(f"x{ratio}" + ("" if noise == "none" else f", {noise}") for ratio, noise in REAL_SETTINGS)], lines


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):+.2f} ({min(values):+.2f})" if values else ""


def _table(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---"] * len(heading)
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, rule, *lines))
