"""Outputs and side files: what they may replace, and where they may go."""

import json
import os
import socket
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
import zarr
from delivered import raster
from hostile_case import Case, check

FAST = ("--scale", "2", "--model", "interpolation", "-q")


def inputs(folder):
    """Write a scene, a sharper guide, and a small folder for outputs."""
    rng = np.random.default_rng(1)
    raster(folder / "scene.tif", rng.integers(500, 5000, (3, 12, 14)).astype("uint16"), 8.0)
    raster(folder / "pan.tif", rng.integers(500, 5000, (1, 24, 28)).astype("uint16"), 4.0)
    (folder / "out").mkdir()


def command(*words, prepare=None):
    """Return a function that writes the inputs and answers with a command."""

    def make(folder):
        inputs(folder)
        if prepare is not None:
            prepare(folder)
        return list(words)

    return make


def sharpen(*words, prepare=None):
    return command("upscale", "scene.tif", *FAST, *words, prepare=prepare)


def in_python(call, prepare=None):
    """Return a function that writes the inputs and answers with a call."""

    def make(folder):
        inputs(folder)
        if prepare is not None:
            prepare(folder)
        return call

    return make


def nothing_at(*names):
    """Return a check that no file of a name is there, nor its work directory."""

    def verify(folder, _outcome):
        for name in names:
            assert not os.path.lexists(folder / name), name
            assert not (folder / f"{name}.part").exists(), name

    return verify


def holds(name, content):
    def verify(folder, _outcome):
        assert (folder / name).read_text() == content

    return verify


def fifo(name):
    return lambda folder: os.mkfifo(folder / name)


def psf(folder):
    from dualsr_geo.degradation.psf import Psf

    (folder / "psf.json").write_text(json.dumps(Psf.from_mtf(2, 0.3).to_json()))


def zipped(folder):
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.write(folder / "scene.tif", "scene.tif")


def bound_socket(folder):
    # The path of a socket has at most 107 bytes.
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("out/o.tif")


def product(name="out/o.zarr"):
    def prepare(folder):
        import dualsr_geo

        dualsr_geo.upscale(folder / "scene.tif", folder / name, scale=2, model="interpolation")

    return prepare


def foreign_group(folder):
    zarr.open_group(folder / "theirs.zarr", mode="w").attrs["title"] = "years of work"


def link(name, target):
    return lambda folder: (folder / name).symlink_to(target)


def hard_link(name, target):
    return lambda folder: os.link(folder / target, folder / name)


def file_with(name, content="mine"):
    def prepare(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)

    return prepare


def linked_work_directory(folder):
    (folder / "theirs").mkdir()
    (folder / "theirs" / "run.json").write_text("{}")
    (folder / "theirs" / "thesis.tex").write_text("years")
    (folder / "out" / "o.tif.part").symlink_to(folder / "theirs")


def still_linked(folder, _outcome):
    assert (folder / "theirs" / "thesis.tex").read_text() == "years"
    assert (folder / "out" / "o.tif.part").is_symlink()


def link_replaced(folder, _outcome):
    """The product stands where the link was; what the link led to is as it was."""
    assert not (folder / "out" / "o.tif").is_symlink()
    with rasterio.open(folder / "out" / "o.tif") as dataset:
        assert dataset.count == 3
    assert (folder / "precious.tif").read_text() == "mine"


def group_link_replaced(folder, _outcome):
    assert not (folder / "out" / "o.zarr").is_symlink()
    assert not (folder / "out" / "o.zarr.part").exists()
    assert (folder / "kept.zarr" / "zarr.json").exists()


def renamed_group(folder):
    product()(folder)
    os.replace(folder / "out" / "o.zarr", folder / "kept.zarr")
    (folder / "out" / "o.zarr").symlink_to(folder / "kept.zarr")


def still_a(kind, name):
    def verify(folder, _outcome):
        assert kind(os.lstat(folder / name).st_mode)

    return verify


def work_directory(*names):
    """Return a function that makes a folder with the name of a work directory, which holds other files."""

    def prepare(folder):
        for name in names:
            file_with(f"out/o.tif.part/{name}")(folder)

    return prepare


def backup(folder):
    """Make a folder like a work directory with a group in it that no run has put there."""
    inner = folder / "out" / "o.zarr.part" / "old.zarr"
    inner.mkdir(parents=True)
    (inner / "zarr.json").write_text("{}")


def no_group(folder, _outcome):
    assert not (folder / "out" / "o.zarr").exists()
    assert (folder / "out" / "o.zarr.part" / "old.zarr" / "zarr.json").exists()


def products_kept(folder, _outcome):
    with rasterio.open(folder / "out" / "scene_x2.tif") as dataset:
        assert dataset.read().any()


def batch(*words, prepare=None):
    return command("batch", "scene.tif", *FAST, "-o", "out", *words, prepare=prepare)


def finished_batch(damage):
    """Return a function that sharpens a batch and damages its journal."""

    def prepare(folder):
        from click.testing import CliRunner

        from dualsr_geo.cli import main

        result = CliRunner().invoke(main, ["batch", "scene.tif", *FAST, "-o", "out"])
        assert result.exit_code == 0, result.output
        damage(folder / "out")

    return prepare


def journal_line(text):
    def damage(out):
        with (out / "batch.jsonl").open("a") as file:
            file.write(text + "\n")

    return damage


def owner(text):
    return lambda out: (out / "batch.owner.json").write_text(text)


def first_line(text):
    def damage(out):
        lines = (out / "batch.jsonl").read_text().splitlines()
        (out / "batch.jsonl").write_text("\n".join([text, *lines[1:]]) + "\n")

    return damage


def done(folder, _outcome):
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert summary["counts"]["done"] == 1
    products_kept(folder, _outcome)


SCENE_LINE = '{"scene": "x.tif", "status": "done", '
JOURNAL_DAMAGES = {
    "no JSON": journal_line("{"),
    "a list": journal_line("[1, 2]"),
    "a number": journal_line("7"),
    "an unknown status": journal_line('{"scene": "x.tif", "status": "sleeping"}'),
    "no status": journal_line('{"scene": "x.tif"}'),
    "a scene that is a number": journal_line('{"scene": 5, "status": "done"}'),
    "a scene that is a list": journal_line('{"scene": [], "status": "done"}'),
    "seconds that are text": journal_line(SCENE_LINE + '"seconds": "long"}'),
    "notes that are a number": journal_line(SCENE_LINE + '"notes": 5}'),
    "notes of numbers": journal_line(SCENE_LINE + '"notes": [1]}'),
    "a product that is a mapping": journal_line(SCENE_LINE + '"product": {}}'),
    "a shape that is text": journal_line(SCENE_LINE + '"shape": ["a"]}'),
    "a reason that is null": journal_line('{"scene": "x.tif", "status": "failed", "reason": null}'),
    "bytes that are no text": lambda out: (out / "batch.jsonl").write_bytes(
        (out / "batch.jsonl").read_bytes() + b"\xff\xfe\n"
    ),
    "deep nesting": journal_line("[" * 100_000),
}
OWNER_DAMAGES = {
    "an empty owner": owner(""),
    "an owner that is a list": owner("[]"),
    "an owner with a huge number": owner('{"pid": 1e300, "host": "h", "since": "s", "started": 0}'),
    "an owner with a text as number": owner(f'{{"pid": "x", "host": "{socket.gethostname()}"}}'),
    "an owner without a process": owner(
        f'{{"pid": -5, "host": "{socket.gethostname()}", "since": "now", "started": 0}}'
    ),
}

NAMES = (
    ("a name of 300 bytes", "n" * 300, "too long.*file systems take 255"),
    ("a name that has no room for .part", "n" * 250 + ".tif", "with the ending .part"),
    ("a name that is not UTF-8", os.fsdecode(b"out/\xff.tif"), "is not UTF-8"),
    ("the home of nobody", "~nosuchuser/o.tif", "does not exist"),
)
SIDE_FILES = (("--report", ".html"), ("--log-json", ".jsonl"))

CASES = (
    # What a side file may not replace.
    *(Case(f"{option} on the scene", sharpen("-o", "out/o.tif", option, "scene.tif", "--overwrite"),
           r"has the name of a product", verify=nothing_at("out/o.tif")) for option, _ in SIDE_FILES),
    *(Case(f"{option} on a link to the scene", sharpen("-o", "out/o.tif", option, f"a{suffix}", "--overwrite",
           prepare=link(f"a{suffix}", "scene.tif")), r"is the input scene\.tif itself", verify=nothing_at("out/o.tif"))
      for option, suffix in SIDE_FILES),
    *(Case(f"{option} on a hard link to the scene", sharpen("-o", "out/o.tif", option, f"a{suffix}", "--overwrite",
           prepare=hard_link(f"a{suffix}", "scene.tif")), r"is the input scene\.tif itself", verify=nothing_at("out/o.tif"))
      for option, suffix in SIDE_FILES),
    *(Case(f"{option} in a folder that is missing", sharpen("-o", "out/o.tif", option, f"no/a{suffix}"),
           r"directory no of no/a.* does not exist", verify=nothing_at("out/o.tif")) for option, suffix in SIDE_FILES),
    *(Case(f"{option} is a folder", sharpen("-o", "out/o.tif", option, "out"), r"out is a directory",
           verify=nothing_at("out/o.tif")) for option, _ in SIDE_FILES),
    *(Case(f"{option} is a device", sharpen("-o", "out/o.tif", option, "/dev/full", "--overwrite"), r"/dev/full is a device",
           verify=nothing_at("out/o.tif")) for option, _ in SIDE_FILES),
    *(Case(f"{option} is a pipe", sharpen("-o", "out/o.tif", option, "p", prepare=fifo("p")), r"p is a pipe",
           verify=nothing_at("out/o.tif")) for option, _ in SIDE_FILES),
    *(Case(f"{option} is the output", sharpen("-o", "out/o.tif", option, "out/o.tif"), r"name of a product|output out/o\.tif itself",
           verify=nothing_at("out/o.tif")) for option, _ in SIDE_FILES),
    Case("--report inside the output", sharpen("-o", "out/o.zarr", "--report", "out/o.zarr/r.html", "--overwrite",
         prepare=product()), r"inside the output"),
    Case("--report and --log-json are one file", sharpen("-o", "out/o.tif", "--report", "out/a", "--log-json", "out/a"),
         r"out/a is the output out/a itself", verify=nothing_at("out/a", "out/o.tif")),
    Case("--report on the PSF", sharpen("-o", "out/o.tif", "--report", "psf.json", "--overwrite", "--psf", "psf.json",
         prepare=psf), r"psf\.json is the input psf\.json itself"),
    Case("--report on the archive of the scene", command("upscale", "/vsizip/a.zip/scene.tif", *FAST, "-o", "out/o.tif",
         "--report", "a.zip", "--overwrite", prepare=zipped), r"a\.zip is the input .*a\.zip/scene\.tif itself"),
    Case("an output on the archive of the scene", command("upscale", "/vsizip/a.zip/scene.tif", *FAST, "-o", "a.zip", "-f", "cog",
         "--overwrite", prepare=zipped), r"output a\.zip is the input a\.zip itself"),
    Case("--report with --resume on a text", sharpen("-o", "out/o.tif", "--report", "notes.html", "--resume",
         prepare=file_with("notes.html")), r"notes\.html exists\. Give --overwrite"),
    Case("--log-json on a text", sharpen("-o", "out/o.tif", "--log-json", "notes.txt", prepare=file_with("notes.txt")),
         r"notes\.txt exists and is no log"),
    Case("--log-json on an ENVI header", sharpen("-o", "out/o.tif", "--log-json", "a.hdr", prepare=file_with("a.hdr", "ENVI\n")),
         r"a\.hdr exists and is no log"),
    Case("--log-json on the journal of a batch", batch("--overwrite", "--log-json", "out/batch.jsonl",
         prepare=file_with("out/batch.jsonl", "{}\n")), r"batch\.jsonl is the output out/batch\.jsonl itself"),
    Case("--plot on the scene", command("guide-check", "scene.tif", "--rgb", "pan.tif", "--plot", "scene.tif"),
         r"has the name of a product"),
    Case("--plot on a link to the guide", command("guide-check", "scene.tif", "--rgb", "pan.tif", "--plot", "a.png",
         prepare=link("a.png", "pan.tif")), r"is the input pan\.tif itself"),
    Case("--plot in a folder that is missing", command("guide-check", "scene.tif", "--rgb", "pan.tif", "--plot", "no/a.png"),
         r"directory no of no/a\.png does not exist"),
    Case("--plot on a text", command("guide-check", "scene.tif", "--rgb", "pan.tif", "--plot", "notes.txt",
         prepare=file_with("notes.txt")), r"notes\.txt exists"),
    Case("a report of an evaluation on the scene", command("evaluate", "scene.tif", "--scale", "2", "--models", "interpolation",
         "--report", "scene.tif", "--overwrite"), r"has the name of a product"),
    Case("a report of an evaluation on a link to it", command("evaluate", "scene.tif", "--scale", "2", "--models",
         "interpolation", "--report", "a.html", "--overwrite", prepare=link("a.html", "scene.tif")), r"is the input scene\.tif"),
    Case("weights on a reference", command("train", "scene.tif", "--network", "coarsenet", "-o", "scene.tif", "--overwrite"),
         r"has the name of a product"),
    Case("weights on a link to a reference", command("train", "scene.tif", "--network", "coarsenet", "-o", "w.safetensors",
         "--overwrite", prepare=link("w.safetensors", "scene.tif")), r"is the input scene\.tif itself"),
    Case("a training in a folder of something else", command("train", "scene.tif", "--network", "coarsenet", "-o",
         "w.safetensors", "--overwrite", prepare=file_with("w.training/thesis.tex")), r"not that of a training"),
    Case("imported weights on their checkpoint", command("models", "import", "w.pth", "-o", "w.pth", "--overwrite",
         prepare=file_with("w.pth")), r"w\.pth is the input w\.pth itself"),
    Case("a sample on a scene", command("sample", ".", "--size", "8", "8"), r"scene\.tif exists and is no sample"),
    Case("a sample on a link", command("sample", "out", "--size", "8", "8",
         prepare=link("out/scene.tif", "../scene.tif")), r"out/scene\.tif exists"),
    Case("a sample below a file", command("sample", "scene.tif/new", "--size", "8", "8"), r"cannot be (written|read)"),

    # What an output may not replace.
    Case("an output that is a device", sharpen("-o", "/dev/null", "-f", "cog", "--overwrite"), r"/dev/null is a device",
         verify=lambda *_: still_a(stat.S_ISCHR, "null")(Path("/dev"), None)),
    Case("an output that is a pipe", sharpen("-o", "out/o.tif", "--overwrite", prepare=fifo("out/o.tif")),
         r"out/o\.tif is a pipe", verify=still_a(stat.S_ISFIFO, "out/o.tif")),
    Case("an output that is a socket", sharpen("-o", "out/o.tif", "--overwrite", prepare=bound_socket),
         r"out/o\.tif is a socket", verify=still_a(stat.S_ISSOCK, "out/o.tif")),
    Case("a group that is a pipe", sharpen("-o", "out/o.zarr", "--overwrite", prepare=fifo("out/o.zarr")),
         r"out/o\.zarr is a pipe", verify=still_a(stat.S_ISFIFO, "out/o.zarr")),
    Case("a degraded scene that is a pipe", command("degrade", "scene.tif", "--scale", "2", "-o", "out/o.tif", "--overwrite",
         prepare=fifo("out/o.tif")), r"out/o\.tif is a pipe", verify=still_a(stat.S_ISFIFO, "out/o.tif")),
    Case("a group of another program", sharpen("-o", "theirs.zarr", "--overwrite", prepare=foreign_group),
         r"theirs\.zarr exists and is no product of dualsr-geo"),
    Case("a folder", sharpen("-o", "theirs.zarr", "--overwrite", prepare=file_with("theirs.zarr/cat.jpg")),
         r"theirs\.zarr exists and is not Zarr"),
    Case("a group of our own", sharpen("-o", "out/o.zarr", "--overwrite", prepare=product())),
    Case("a link without --overwrite", sharpen("-o", "out/o.tif", prepare=link("out/o.tif", "nowhere")), r"out/o\.tif exists"),
    Case("a link to a file", sharpen("-o", "out/o.tif", "--overwrite", prepare=lambda folder: (
         file_with("precious.tif")(folder), link("out/o.tif", "../precious.tif")(folder))), verify=link_replaced),
    Case("a link to a group", sharpen("-o", "out/o.zarr", "--overwrite", prepare=renamed_group), verify=group_link_replaced),
    Case("a link to the scene", sharpen("-o", "out/o.tif", "--overwrite", prepare=link("out/o.tif", "../scene.tif")),
         r"out/o\.tif is the input .*/scene\.tif itself"),
    Case("an overview of the output that is the guide", sharpen("--rgb", "out/o.tif.ovr", "-o", "out/o.tif",
         prepare=lambda folder: os.replace(folder / "pan.tif", folder / "out" / "o.tif.ovr")),
         r"replaces the files that describe it, of which one is the input .*/out/o\.tif\.ovr"),

    # Work directories.
    Case("a work directory that is a link", sharpen("-o", "out/o.tif", prepare=linked_work_directory),
         r"o\.tif\.part is needed .* not ours \(a symbolic link\)", verify=still_linked),
    Case("a work directory that is a link, with --overwrite", sharpen("-o", "out/o.tif", "--overwrite",
         prepare=linked_work_directory), r"not ours \(a symbolic link\)", verify=still_linked),
    Case("a work directory that is a file", sharpen("-o", "out/o.tif", prepare=file_with("out/o.tif.part")),
         r"not ours \(a file\)", verify=holds("out/o.tif.part", "mine")),
    Case("a folder with a run.json of something else", sharpen("-o", "out/o.tif", prepare=work_directory("run.json", "thesis.tex")),
         r"not ours", verify=holds("out/o.tif.part/thesis.tex", "mine")),
    Case("a folder with a backup of nothing", sharpen("-o", "out/o.zarr", prepare=backup), r"not ours", verify=no_group),
    Case("a folder with a backup of nothing, resumed", sharpen("-o", "out/o.zarr", "--resume", prepare=backup), r"not ours",
         verify=no_group),
    Case("a damaged record", sharpen("-o", "out/o.tif", "--resume", prepare=work_directory("run.json")),
         r"run\.json is damaged: it is not JSON\. Leave --resume out to start again"),
    Case("a damaged record, begun again", sharpen("-o", "out/o.tif", prepare=work_directory("run.json"))),

    # Names.
    *(Case(f"an output: {name}", sharpen("-o", path, "-f", "cog"), error) for name, path, error in NAMES),
    *(Case(f"a group: {name}", sharpen("-o", path, "-f", "zarr"), error) for name, path, error in NAMES),
    *(Case(f"a report: {name}", sharpen("-o", "out/o.tif", "--report", path.replace(".tif", ".html")), error,
           verify=nothing_at("out/o.tif")) for name, path, error in NAMES if ".part" not in error),
    Case("an output with a NUL", in_python(lambda: _upscale("out/o\0.tif")), r"zero byte"),
    Case("an output without a name", in_python(lambda: _upscale("")), r"is empty|suffix"),

    # Creation options.
    *(Case(f"--co {option}", sharpen("-o", "out/o.tif", "--co", option), error, verify=nothing_at("out/o.tif"))
      for option, error in (("COMPRESS=JPEG", r"JPEG holds only uint8, and the output is uint16"),
                            ("COMPRESS=WEBP", r"WEBP holds only uint8, and the output is uint16"),
                            ("COMPRESS=CCITTFAX4", r"for images of one bit"), ("NBITS=4", r"would cut values of uint16"),
                            ("BLOCKSIZE=7", r"GDAL cannot write 3 bands of uint16 so"))),

    # The journal of a batch.
    *(Case(f"a journal with {name}", batch("--resume", prepare=finished_batch(damage)), warning=r"damaged line", verify=done)
      for name, damage in JOURNAL_DAMAGES.items()),
    *(Case(f"a journal with {name}", batch("--resume", prepare=finished_batch(damage)), verify=done)
      for name, damage in OWNER_DAMAGES.items()),
    *(Case(f"the status of a batch with {name}", command("batch", "-o", "out", "--status", prepare=finished_batch(damage)))
      for name, damage in (*list(JOURNAL_DAMAGES.items())[:3], *OWNER_DAMAGES.items())),
    Case("a journal whose settings are damaged", batch("--resume", prepare=finished_batch(first_line("{"))),
         r"options of the batch in out are damaged"),
    Case("a journal whose settings are damaged, with --overwrite", batch("--resume", "--overwrite",
         prepare=finished_batch(first_line('{"options": 5}'))), verify=done),
    Case("a journal that is a folder", batch(prepare=lambda folder: (folder / "out" / "batch.jsonl").mkdir()),
         r"journal out/batch\.jsonl cannot be read"),
    Case("a summary that is a folder", batch(prepare=lambda folder: (folder / "out" / "summary.csv").mkdir()),
         r"summary in out cannot be written.*--resume", verify=products_kept),
    Case("an --output below a file", batch("-o", "scene.tif/out"), r"cannot be (created|read)|is a file"),
    Case("a table of guides with the name of the summary", batch("--rgb", "out/summary.csv", "--alone",
         prepare=file_with("out/summary.csv", "scene,guide\nscene.tif,pan.tif\n")), r"is the input out/summary\.csv itself",
         verify=holds("out/summary.csv", "scene,guide\nscene.tif,pan.tif\n")),
)  # fmt: skip


def _upscale(output):
    import dualsr_geo

    return dualsr_geo.upscale("scene.tif", output, scale=2, model="interpolation")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)
