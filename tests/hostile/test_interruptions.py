"""Runs that are killed, and work directories that are damaged afterwards: what looks finished is whole."""

import json
import os
import shutil
import warnings

import interrupted_run as runs
import numpy as np
import pytest
from delivered import raster

from dualsr_geo.batching.journal import Journal
from dualsr_geo.errors import DualSRError, DualSRWarning, UnexpectedError

FORMS = {"cog": ("o.tif", {}), "tiff": ("o.tif", {"format": "GTiff"}), "zarr": ("o.zarr", {})}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A folder of two scenes."""
    folder = tmp_path_factory.mktemp("scenes")
    for i, name in enumerate(("a.tif", "b.tif")):
        cube = np.random.default_rng(i).integers(500, 5000, (3, 20, 22)).astype("uint16")
        cube[:, 8:16, 8:16] = 0
        raster(folder / name, cube, 8.0, nodata=0)
    return folder


@pytest.fixture(scope="module")
def undisturbed(scenes, tmp_path_factory):
    """The bytes of the products of runs that nobody disturbed, by form."""
    folder = tmp_path_factory.mktemp("undisturbed")
    products = {}
    for form, (name, options) in FORMS.items():
        (folder / form).mkdir()
        runs.sharpen(scenes / "a.tif", folder / form / name, **options)
        products[form] = files_of(folder / form / name)
    runs.sharpen_all(scenes, folder / "batch")
    products["batch"] = {p.name: p.read_bytes() for p in (folder / "batch").glob("*.tif")}
    return products


def files_of(place):
    """Return the content of a file, or of each file of a folder."""
    if place.is_file():
        return {"": place.read_bytes()}
    return {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}


# ---- damaged work directories ------------------------------------------------------------


@pytest.fixture(scope="module")
def killed(scenes, tmp_path_factory):
    """Work directories of killed runs: in the tiles, in the last step of a TIFF, and in that of a group."""
    folders = {}
    for form, (name, options) in FORMS.items():
        if form == "tiff":
            continue
        for moment in ("tiles", "end"):
            place = tmp_path_factory.mktemp(f"{form}-{moment}") / name
            run = "sharpen", str(scenes / "a.tif"), str(place)
            if moment == "end":
                assert runs.kill_before_publishing(*run, **options) == -9
            else:
                assert runs.kill_at_call(60, *run, **options) == -9
            work = place.with_name(f"{name}.part")
            assert not place.exists()
            assert 2 < len(list((work / "done").iterdir())) < (10 if moment == "end" else 9)
            folders[form, moment] = work
    return folders


def flip(file, rng, _others):
    content = bytearray(file.read_bytes())
    if content:
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    file.write_bytes(content)


def truncate(file, rng, _others):
    content = file.read_bytes()
    file.write_bytes(content[: int(rng.integers(max(1, len(content))))])


def delete(file, _rng, _others):
    file.unlink()


def swap(file, rng, others):
    other = others[int(rng.integers(len(others)))]
    mine, theirs = file.read_bytes(), other.read_bytes()
    file.write_bytes(theirs)
    other.write_bytes(mine)


def folder_instead(file, _rng, _others):
    file.unlink()
    file.mkdir()


def overwrite(file, rng, _others):
    file.write_bytes(rng.bytes(int(rng.integers(1, 300))))


DAMAGES = (flip, flip, flip, truncate, delete, swap, folder_instead, overwrite)


def damage_and_resume(case, scenes, undisturbed, killed, tmp_path):
    """Damage files of a work directory and resume: the product is that of an undisturbed run, or there is none."""
    rng = np.random.default_rng(case)
    (form, _), work = list(killed.items())[case % len(killed)]
    name, options = FORMS[form]
    place = tmp_path / name
    shutil.copytree(work, tmp_path / f"{name}.part", symlinks=True)
    for _ in range(1 + case % 2):
        files = sorted(p for p in (tmp_path / f"{name}.part").rglob("*") if p.is_file())
        damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
        damage(files[int(rng.integers(len(files)))], rng, files)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DualSRWarning)
        refusal = None
        try:
            runs.sharpen(scenes / "a.tif", place, resume=True, **options)
        except DualSRError as error:
            refusal = error
    if refusal is not None:
        assert not isinstance(refusal, UnexpectedError)
        assert not place.exists()
        if "not ours" not in str(refusal):
            # The way out that the message names.
            assert "Leave --resume out" in str(refusal)
            runs.sharpen(scenes / "a.tif", place, **options)
            assert files_of(place) == undisturbed[form]
        return "refused"
    assert files_of(place) == undisturbed[form]
    assert not (tmp_path / f"{name}.part").exists()
    return "redone" if caught else "resumed"


@pytest.mark.parametrize("case", range(12))
def test_a_damaged_work_directory_makes_the_same_product_or_none(case, scenes, undisturbed, killed, tmp_path):
    damage_and_resume(case, scenes, undisturbed, killed, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("case", range(12, 212))
def test_any_damaged_work_directory_makes_the_same_product_or_none(case, scenes, undisturbed, killed, tmp_path):
    print(damage_and_resume(case, scenes, undisturbed, killed, tmp_path))


def test_damaged_tiles_are_counted(scenes, undisturbed, killed, tmp_path):
    shutil.copytree(killed["cog", "end"], tmp_path / "o.tif.part")
    chunks = sorted(p for p in (tmp_path / "o.tif.part" / "store.zarr").rglob("c/*/*/*"))
    chunks[0].write_bytes(b"")
    chunks[1].unlink()
    with pytest.warns(DualSRWarning, match=r"o\.tif\.part: 2 of 9 finished tiles are damaged and are computed again"):
        runs.sharpen(scenes / "a.tif", tmp_path / "o.tif", resume=True)
    assert files_of(tmp_path / "o.tif") == undisturbed["cog"]


# Of a guide of noise.
@pytest.mark.filterwarnings("ignore::dualsr_geo.errors.DualSRWarning")
def test_a_damaged_fit_is_made_again(scenes, tmp_path, monkeypatch):
    from dualsr_geo.engine import upscale

    cube = np.random.default_rng(5).integers(500, 5000, (1, 40, 44)).astype("uint16")
    pan = raster(tmp_path / "pan.tif", cube, 4.0)
    options = {"rgb": pan, "fine": "finenet-per-tile"}
    runs.sharpen(scenes / "a.tif", tmp_path / "whole.tif", **options)
    monkeypatch.setattr(upscale, "_run_tiles", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        runs.sharpen(scenes / "a.tif", tmp_path / "o.tif", **options)
    monkeypatch.undo()
    fit = tmp_path / "o.tif.part" / upscale.FINE_STAGE_FILE
    content = bytearray(fit.read_bytes())
    content[len(content) // 2] ^= 4
    fit.write_bytes(content)
    with pytest.warns(DualSRWarning, match=r"fine\.safetensors is damaged or missing and is made again"):
        runs.sharpen(scenes / "a.tif", tmp_path / "o.tif", resume=True, **options)
    assert (tmp_path / "o.tif").read_bytes() == (tmp_path / "whole.tif").read_bytes()


# ---- killed at any moment ----------------------------------------------------------------


def kill_and_resume(case, form, scenes, undisturbed, calls, tmp_path):
    """Kill a run at a random moment, which may be in publishing, and resume it."""
    rng = np.random.default_rng(case)
    name, options = FORMS[form]
    place, scene = tmp_path / name, str(scenes / "a.tif")
    replaced = case % 3 == 2
    if replaced:
        runs.sharpen(scenes / "b.tif", place, **options)
        options = {**options, "overwrite": True}
    before = files_of(place) if replaced else None
    total = calls[form, replaced]
    # Every second run ends in the last quarter of its calls, which publish it.
    call = float(rng.uniform(0.75 * total if case % 2 else 0, total))
    runs.kill_at_call(round(2 * call) / 2, "sharpen", scene, str(place), **options)
    if os.path.lexists(place):
        assert files_of(place) in (undisturbed[form], before)
    elif replaced:
        # Between the two renames of a group the old one is in the work directory.
        assert form == "zarr"
        assert files_of(tmp_path / f"{name}.part" / "old.zarr") == before
    with warnings.catch_warnings():
        # Nothing of a killed run is damaged.
        warnings.simplefilter("error", DualSRWarning)
        runs.sharpen(scene, place, resume=True, **options)
    assert files_of(place) == undisturbed[form]


def kill_and_resume_batch(case, scenes, undisturbed, calls, tmp_path):
    """Kill a batch at a random moment, and resume it."""
    call = float(np.random.default_rng(case).uniform(0, calls["batch"]))
    runs.kill_at_call(round(2 * call) / 2, "sharpen_all", str(scenes), str(tmp_path / "out"))
    for path in (tmp_path / "out").glob("*.tif"):
        assert path.read_bytes() == undisturbed["batch"][path.name]
    if (tmp_path / "out" / "summary.json").exists():
        json.loads((tmp_path / "out" / "summary.json").read_text())
    with warnings.catch_warnings():
        warnings.simplefilter("error", DualSRWarning)
        Journal(tmp_path / "out").read()
        assert runs.sharpen_all(scenes, tmp_path / "out", resume=True) == ["done", "done"]
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").glob("*.tif")} == undisturbed["batch"]
    assert not list((tmp_path / "out").glob("*.part"))


@pytest.fixture(scope="module")
def calls(scenes, tmp_path_factory):
    """The numbers of calls of undisturbed runs."""
    counts = {}
    for form, (name, options) in FORMS.items():
        place = str(tmp_path_factory.mktemp(form) / name)
        counts[form, False] = runs.count_calls("sharpen", str(scenes / "a.tif"), place, **options)
        counts[form, True] = runs.count_calls("sharpen", str(scenes / "b.tif"), place, overwrite=True, **options)
    counts["batch"] = runs.count_calls("sharpen_all", str(scenes), str(tmp_path_factory.mktemp("batch")))
    return counts


@pytest.mark.parametrize("case", range(4))
@pytest.mark.parametrize("form", ["cog", "zarr"])
def test_a_killed_run_leaves_nothing_that_only_looks_finished(case, form, scenes, undisturbed, calls, tmp_path):
    kill_and_resume(case, form, scenes, undisturbed, calls, tmp_path)


@pytest.mark.parametrize("case", range(1))
def test_a_killed_batch_leaves_nothing_that_only_looks_finished(case, scenes, undisturbed, calls, tmp_path):
    kill_and_resume_batch(case, scenes, undisturbed, calls, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("case", range(10, 35))
@pytest.mark.parametrize("form", [*FORMS, "batch"])
def test_a_run_killed_at_any_moment_leaves_nothing_that_only_looks_finished(
    case, form, scenes, undisturbed, calls, tmp_path
):
    if form == "batch":
        kill_and_resume_batch(case, scenes, undisturbed, calls, tmp_path)
    else:
        kill_and_resume(case, form, scenes, undisturbed, calls, tmp_path)


@pytest.mark.hostile
@pytest.mark.parametrize("case", range(12))
def test_a_run_killed_after_any_time_leaves_nothing_that_only_looks_finished(case, scenes, undisturbed, tmp_path):
    place = tmp_path / "o.zarr"
    runs.kill_after(0.15 * (case + 1), "sharpen", str(scenes / "a.tif"), str(place))
    assert not place.exists() or files_of(place) == undisturbed["zarr"]
    runs.sharpen(scenes / "a.tif", place, resume=True)
    assert files_of(place) == undisturbed["zarr"]
