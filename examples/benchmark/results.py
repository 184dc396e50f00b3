"""Write the page of results and its plots from the benchmark's table.

Run: python examples/benchmark/results.py [results.csv [page.md]]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, median

import combinations
import environment
import plots
import reality
import scenes
import table
from cases import FIGURES, GUIDES, Case, Figure, Runs, case_of, number
from degradations import DEGRADATIONS
from disturbances import DISTURBANCES

from dualsr_geo.errors import DualSRError, InputError
from dualsr_geo.models.registry import models

CSV = Path(__file__).with_name("results.csv")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "results.md"
# The default; its training-free estimate with and without a guide; the default without shrinkage. All others are baselines.
OURS, GUIDED, UNGUIDED, UNSHRUNK = "auto", "regression", "interpolation", "learned"
# Scenes outside the training data of the shipped networks.
UNSEEN = (*scenes.VALIDATION, "jasper", "sandiego", "enmap", "wv2", "sn6")
DISTURBED = [name for name in DISTURBANCES if name != "none"]

BY_HAND = "Written by hand from runs of 2026-11-21 to 2026-11-30; the tables below may differ."
CONCLUSION = """\
| question | answer |
| --- | --- |
| Is it better than classical pansharpening? | Yes, on all 34 guided cases of the first table, by 0.6 to 6.3 dB; by 0.6 and 0.9 dB with real pan bands |
| Is it better than methods of hyperspectral fusion? | With RGB by 1.1 dB (FUSE) to 2.1 dB (HySure), although these are given the true blur; with a real pan band FUSE is 0.1 to 0.3 dB better |
| Do the networks help? | With a pan guide by 0.7 dB in the mean, without a guide by 1.4, with RGB by 0.1, with a real pan band by 0.1 |
| What does a noisy guide cost? | 1 % of noise 1.6 dB, 8 bit 0.3 dB, JPEG 90 3.8 dB with RGB; hardly anything with a real pan band |
| Is it safe without a guide? | At ratio 4 it is in the mean above a cubic spline for every usual kind of blur; scenes sampled without antialiasing can be 1.1 dB below |

Names: *sponges*, *thread_spools* and *cave-...* are laboratory scenes of 31 bands (CAVE); *jasper*, *sandiego*, *moffett*,
*abu-airport-4*, *hsitk* (AVIRIS) and *samson* are airborne hyperspectral scenes; *enmap*, *wv2* (WorldView-2), *sn6* (WorldView-2 of SpaceNet 6), *dsen2*
(Sentinel-2) and *landsat* (Landsat 7) are from satellites. *x4 pan* is ratio 4 with a simulated pan guide, *own* a guide of the
same satellite; no guide where none is named.

Clean simulated pairs, which most of the tables below are of, are easier than real ones. In detail:

* **With a guide** the default is 1.1 dB above FUSE, 2.1 above HySure and 2.0 above a ridged GLP on clean RGB pairs, though these are
  given the true blur and response; with noise of 1 % in the guide 3.8, 1.7 and 4.9 dB ([What reality costs](#what-reality-costs)).
  No case of that table is below bicubic. 1 % of noise costs 1.6 dB, 8 bit 0.3, nearly collinear bands 1.6, JPEG 90 3.8 dB.
* **A real pan** (WorldView-2, SpaceNet 6) leaves the default 0.1 to 0.3 dB *below* FUSE with the true blur, 0.5 above HySure and GLP.
* **Without a guide**, the blur unknown, the default is above a cubic spline in the mean of every blur of a Gaussian, box, antialiased bicubic
  and Lanczos kind, by 0.5 to 2.4 dB. Scenes sampled without antialiasing are up to 1.1 dB below it on smooth scenes, and so are
  crops of a few dozen pixels of scenes that are soft themselves.
* **Displacement, another date, resampling** widen the estimated blur; it is narrowed where blocks of the scene disagree. The
  summary gives an index of lattices and of overshoot of every product.

The tables of undisturbed runs are of version 0.1.0, before the guide's noise, the new candidates and the blur of the scene. On 18 of
their cases that were run again (CAVE cropped) `regression` gains 0.3 dB and `auto` 0.25 in the mean; one loses more than
0.05 dB, sponges x8 (0.16)."""
HOW_TO_READ = """\
* Every score compares a product with a *reference* that was degraded first (the Wald protocol), in the reference's
  scale of 0..1. PSNR: over all bands, peak 1, dB, more is better. SAM: mean spectral angle, degrees, less is
  better. ERGAS: relative error in percent, divided by the ratio, less is better. Q2n: quality of the spectra as
  hypercomplex numbers, at most 1, more is better.
* Figures of different protocols cannot be compared: the degradation determines the difficulty.
* Guide `rgb` and `pan` are simulated: weighted means of the reference's own bands (`rgb`: on CAVE the responses of a
  Nikon D700, elsewhere Gaussians at 640, 550 and 460 nm of 70 nm FWHM; `pan`: on CAVE the mean of all bands, elsewhere
  of those from 450 to 700 nm). They are noise-free and exactly registered to the reference, which is easier than reality. Guide
  `own` is a real one: the pan bands of wv2 and sn6, degraded by 4 with an MTF gain of 0.15, and Sentinel-2's 10 m bands
  (dsen2), degraded by 2 with a gain of 0.3.
* Each model runs with its defaults: only the ratio is given, and blur and shift are estimated, unless the
  protocol differs. `interpolation` and `bicubic` use no guide; their figures are in every row of a scene.
* The best is in **bold**; figures that are equal in print count as equal. Seconds are those of one thread."""


def page(runs: Runs, real: Sequence[table.Row] = (), made_in: environment.Environment | None = None) -> str:
    """Return the page, with the rows of the grid of reality; the same rows in any order give the same page.

    Parameters
    ----------
    runs : Runs
        Of the default grid.
    real : sequence of row
        Of the grid of reality.
    made_in : mapping, optional
        The environment of all runs, where they have one.
    """
    parts = [
        "# Results",
        made_from(runs),
        *([] if made_in is None else [environment.sentence(made_in)]),
        "## In short",
        *([] if made_in is None else [BY_HAND]),
        CONCLUSION,
        "## How to read it",
        HOW_TO_READ,
        "\n".join(f"* `{m}`: {models()[m].summary}" for m in runs.models),
        scene_table(runs),
        "![PSNR over bicubic](images/benchmark_gain.png)",
        f"Differences below {plots.LOWEST_DB:g} dB are drawn at {plots.LOWEST_DB:g} dB.",
    ]
    for name, degradation in DEGRADATIONS.items():
        if runs.cases(name):
            parts += [f"## Protocol `{name}`", degradation.sentence, score_table(runs, name), *verdicts(runs, name)]
    parts += [*learned(runs), *robustness(runs), *reality.section(real), "## Seconds", seconds(runs), *left_out(runs)]
    return "\n\n".join(parts) + "\n"


def made_from(runs: Runs) -> str:
    """Return a sentence on the runs of the page, and on missing ones."""
    versions = ", ".join(sorted({row["version"] for row in runs.rows}))
    dates = sorted({row["date"] for row in runs.rows})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    missing = len({one.key for one in combinations.chosen(())} - set(runs.by_key))
    return (
        "Written by `python examples/benchmark/results.py` from the table of `python examples/benchmark/run.py`: "
        f"{len(runs.rows)} runs of dualsr-geo {versions}, {when}. "
        f"Of the default grid {missing or 'no'} combination{'' if missing == 1 else 's'} "
        f"{'is' if missing == 1 else 'are'} missing."
    )


def scene_table(runs: Runs) -> str:
    """Return bands and sizes (rows x columns of the reference) of the scenes."""
    found: dict[str, tuple[str, set[str]]] = {}
    for row in runs.rows:
        found.setdefault(row["scene"], (row["bands"], set()))[1].add(row["size"])
    lines = [[s, found[s][0], ", ".join(sorted(found[s][1]))] for s in scenes.SCENES if s in found]
    return markdown(["scene", "bands", "rows x columns"], lines)


# ---- scores ------------------------------------------------------------------------------


def score_table(runs: Runs, degradation: str) -> str:
    """Return the scores, a line a case and a column a model."""
    lines = []
    for case in runs.cases(degradation):
        best = {figure: _best(runs, case, degradation, figure) for figure in FIGURES}
        lines.append([str(case), *(_cell(runs, case, degradation, model, best) for model in runs.models)])
    return markdown([" / ".join(f.name for f in FIGURES), *runs.models], lines)


def _best(runs: Runs, case: Case, degradation: str, figure: Figure) -> str:
    values = [v for m in runs.models if (v := runs.value(case, degradation, m, figure)) is not None]
    return figure.printed(figure.sign * max(figure.sign * v for v in values)) if values else ""


def _cell(runs: Runs, case: Case, degradation: str, model: str, best: dict[Figure, str]) -> str:
    row = runs.row(case, degradation, model)
    if row is None or row["error"]:
        return "" if row is None else "failed"
    shown = []
    for figure in FIGURES:
        value = number(row, figure.column)
        text = "-" if value is None else figure.printed(value)
        shown.append(f"**{text}**" if text == best[figure] else text)
    return " / ".join(shown)


def verdicts(runs: Runs, degradation: str) -> Iterator[str]:
    """Yield, for each figure, the cases in which another model is better than the default, and by how much."""
    rivals = [m for m in runs.models if m not in (OURS, UNSHRUNK)]
    guided = [case for case in runs.cases(degradation) if case.guide != "none"]
    unguided = dict.fromkeys(Case(case.scene, case.ratio, "none") for case in runs.cases(degradation))
    for cases, others, where in (
        (guided, rivals, "with a guide"),
        (list(unguided), [UNGUIDED, "bicubic"], "without a guide"),
    ):
        lines = [line for f in FIGURES if (line := _verdict(runs, degradation, OURS, cases, others, f))]
        if lines:
            yield f"Cases in which another model is ahead of `{OURS}` {where}:"
            yield "\n".join(lines)


def _verdict(
    runs: Runs, degradation: str, ours: str, cases: Sequence[Case], rivals: Sequence[str], figure: Figure
) -> str:
    count, ahead = 0, []
    for case in cases:
        value = runs.value(case, degradation, ours, figure)
        others = [(v, m) for m in rivals if (v := runs.value(case, degradation, m, figure)) is not None]
        if value is None or not others:
            continue
        count += 1
        best, rival = max(others, key=lambda found: figure.sign * found[0])
        if (by := figure.lead(best, value)) > 0:
            ahead.append(f"{case} ({rival} by {figure.printed(by)}{figure.unit})")
    where = f": {', '.join(ahead)}" if ahead else ""
    return f"* {figure.name}: in {len(ahead) or 'none'} of {count} case{'s' * (count > 1)}{where}." if count else ""


# ---- what the networks add ---------------------------------------------------------------


def learned(runs: Runs) -> Iterator[str]:
    """Yield the section on the gain of the networks over the training-free estimate."""
    lines = [line for name in DEGRADATIONS for kind in GUIDES if (line := _gains(runs, name, kind))]
    if not lines:
        return
    yield "## What the networks add"
    yield (
        f"PSNR of `{OURS}` (with shrinkage) and `{UNSHRUNK}` (without) minus that of the training-free estimate: "
        f"`{GUIDED}` with a guide, `{UNGUIDED}` without. Mean, and the worst case; SAM as a mean of ratios. Scenes of the "
        f"networks' training data are left out: {', '.join(s for s in scenes.SCENES if s not in UNSEEN)}."
    )
    heading = ["protocol", "guide", "cases", f"`{OURS}`, dB", "worst", f"`{UNSHRUNK}`, dB", "worst", f"SAM of `{OURS}`"]
    yield markdown(heading, lines)


def _gains(runs: Runs, degradation: str, kind: str) -> list[str] | None:
    """Return a line: the gain over the cases with one kind of guide."""
    start = UNGUIDED if kind == "none" else GUIDED
    gains: dict[str, list[tuple[float, str]]] = {OURS: [], UNSHRUNK: []}
    shares = []
    for case in runs.cases(degradation):
        if case.guide != kind or case.scene not in UNSEEN:
            continue
        before, ours = runs.row(case, degradation, start), runs.row(case, degradation, OURS)
        for model, found in gains.items():
            row = runs.row(case, degradation, model)
            if (a := number(before, "psnr_db")) is not None and (b := number(row, "psnr_db")) is not None:
                found.append((b - a, str(case)))
        if (a := number(before, "sam_deg")) and (b := number(ours, "sam_deg")) is not None:
            shares.append(b / a)
    if not gains[OURS] or not shares:
        return None
    cells = [text for model in (OURS, UNSHRUNK) for text in _mean_and_worst(gains[model])]
    return [f"`{degradation}`", kind, str(len(gains[OURS])), *cells, f"{mean(shares):.3f}"]


def _mean_and_worst(found: Sequence[tuple[float, str]]) -> tuple[str, str]:
    if not found:
        return "", ""
    worst, where = min(found)
    return _signed(mean(v for v, _ in found)), f"{_signed(worst)} ({where})"


# ---- robustness and cost -----------------------------------------------------------------


def robustness(runs: Runs) -> Iterator[str]:
    """Yield the section on the effect of disturbances."""
    changes = list(runs.changes())
    if not changes:
        return
    yield "## Robustness"
    yield (
        "Change of PSNR in dB against the same run undisturbed, which estimates the blur; protocol `mtf`, each scene's "
        "smallest ratio. A disturbance is left out where a model uses neither guide nor PSF."
    )
    yield "\n".join(f"* `{name}`: {DISTURBANCES[name].sentence}" for name in DISTURBED)
    yield "Mean change over the cases, and the worst case:"
    lines = [[m, *(_spread([c for c in changes if c[0]["model"] == m], d) for d in DISTURBED)] for m in runs.models]
    yield markdown(["model", *DISTURBED], lines)
    yield "![Change of PSNR under each disturbance](images/benchmark_robustness.png)"
    yield f"`{OURS}`, case by case:"
    ours = {(case_of(row), row["disturbance"]): change for row, change in changes if row["model"] == OURS}
    cases = sorted({case for case, _ in ours}, key=lambda case: case.place)
    yield markdown(["case", *DISTURBED], [[str(c), *(_signed(ours.get((c, d))) for d in DISTURBED)] for c in cases])


def _spread(changes: Sequence[tuple[table.Row, float]], disturbance: str) -> str:
    found = sorted(
        (change, case_of(row).place, str(case_of(row))) for row, change in changes if row["disturbance"] == disturbance
    )
    if not found:
        return ""
    worst, _, where = found[0]
    return f"{_signed(mean(change for change, *_ in found))}, worst {_signed(worst)} ({where})"


def _signed(change: float | None) -> str:
    return "" if change is None else f"{round(change, 2) + 0.0:+.2f}"


def seconds(runs: Runs) -> str:
    """Return the time of the undisturbed runs of each model, with survey; one thread."""
    lines = []
    for model in runs.models:
        rows = [row for row in runs.rows if row["model"] == model and row["disturbance"] == "none" and row["seconds"]]
        if rows:
            took = [float(row["seconds"]) for row in rows]
            each = median(s / _megapixel_bands(row) for s, row in zip(took, rows, strict=True))
            lines.append([model, f"{median(took):.2f}", f"{max(took):.2f}", f"{each:.3f}"])
    return markdown(["model", "median s", "longest s", "median s per band and million pixels"], lines)


def _megapixel_bands(row: table.Row) -> float:
    height, width = map(int, row["size"].split("x"))
    return int(row["bands"]) * height * width / 1e6


def left_out(runs: Runs) -> Iterator[str]:
    """Yield the section on runs that failed, or whose product has no value where the reference has one."""
    failed = sorted((" ".join(table.key(row)), row["error"]) for row in runs.rows if row["error"])
    gaps = sorted(
        (" ".join(table.key(row)), f"{percent:g} % of the reference has no value in the product and is not scored")
        for row in runs.rows
        if (percent := number(row, "missing_percent"))
    )
    yield "## Failures and omissions"
    yield "\n".join(f"* {name}: {why}" for name, why in (*failed, *gaps)) or "Nothing."


def markdown(heading: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    rule = ["---"] * len(heading)
    return "\n".join(f"| {' | '.join(line)} |" for line in (heading, rule, *lines))


def main(words: Sequence[str]) -> None:
    """Read the table, write page and plots."""
    csv = Path(words[0]) if words else CSV
    target = Path(words[1]) if len(words) > 1 else PAGE
    rows = sorted(table.read(csv), key=table.key)
    if not rows:
        raise InputError(f"{csv} has no runs. Run examples/benchmark/run.py first.")
    runs, real = Runs(rows), table.read(csv.with_name(reality.CSV))
    images = target.parent / "images"
    plots.gain(runs, images / "benchmark_gain.png")
    plots.robustness(runs, images / "benchmark_robustness.png")
    target.write_text(page(runs, real, environment.read(csv.parent)), encoding="utf-8")
    print(f"{target}: {len(rows)} runs")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except DualSRError as error:
        sys.exit(str(error))
