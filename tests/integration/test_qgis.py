"""The packaged plugin in QGIS itself, without a screen: from its zip to a layer on disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import package
import pytest
import rasterio

import dualsr_geo
from dualsr_geo import synthetic

# Debian's wrapper `qgis_process` passes an option that qgis_process 3.22 does not know.
PROCESS = shutil.which("qgis_process.bin") or shutil.which("qgis_process")
# The Python that QGIS's bindings are built for; a virtual environment's does not see them.
PYTHON = "/usr/bin/python3"


def runs():
    """Say whether QGIS is there, and whole: an installation may have been cut off."""
    if PROCESS is None:
        return False
    without_screen = {**os.environ, "PATH": "/usr/bin:/bin", "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run([PROCESS, "--version"], env=without_screen, capture_output=True, check=False).returncode == 0


pytestmark = [
    pytest.mark.qgis,
    pytest.mark.skipif(not runs(), reason="QGIS is not installed here (apt-get install qgis python3-qgis)"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The home of a user who has installed the plugin from its zip."""
    folder = tmp_path_factory.mktemp("home")
    plugins = folder / ".local" / "share" / "QGIS" / "QGIS3" / "profiles" / "default" / "python" / "plugins"
    package.pack(folder / "plugin.zip")
    with ZipFile(folder / "plugin.zip") as packed:
        packed.extractall(plugins)
    settings = plugins.parents[1] / "QGIS" / "QGIS3.ini"
    settings.parent.mkdir()
    settings.write_text(
        f"[Processing]\nConfiguration\\DUALSR_GEO_PROGRAM={sys.prefix}\n[PythonPlugins]\ndualsr_qgis=true\n"
    )
    return folder


def surroundings(home):
    """Return the variables of a session without a screen, at that home."""
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "PYTHON"))},
        # QGIS asks the first python3 on the path where its modules lie; a virtual environment's has none.
        "PATH": "/usr/bin:/bin",
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(home),
        "QT_QPA_PLATFORM": "offscreen",
    }


def processed(home, *arguments):
    command = [PROCESS, "--json", "run", *map(str, arguments)]
    return subprocess.run(command, env=surroundings(home), capture_output=True, text=True, check=False)


def test_qgis_sharpens_a_scene_as_the_command_does(home, tmp_path):
    scene, guide = synthetic.write(tmp_path, shape=(24, 31), bands=5, guide="pan")
    made, direct = tmp_path / "qgis.tif", tmp_path / "direct.tif"
    ran = processed(home, "dualsr:upscale", "--", f"SCENE={scene}", f"GUIDE={guide}", f"OUTPUT={made}")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["results"]["OUTPUT"] == str(made)
    dualsr_geo.upscale(scene, direct, rgb=guide)
    with rasterio.open(made) as ours, rasterio.open(direct) as theirs:
        assert ours.transform == theirs.transform
        np.testing.assert_array_equal(ours.read(), theirs.read())


def test_qgis_says_the_one_line_of_a_mistake(home, tmp_path):
    scene, _ = synthetic.write(tmp_path, shape=(9, 11), bands=3, guide="pan")
    ran = processed(home, "dualsr:upscale", "--", f"SCENE={scene}", f"OUTPUT={tmp_path / 'p.tif'}")
    assert ran.returncode != 0
    assert "Without a guide --scale is required. Give --rgb GUIDE, or e.g. --scale 2." in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "p.tif").exists()


def test_the_providers_own_tests_pass_within_qgis(home):
    plugins = next(home.glob("**/python/plugins"))
    tests = Path(__file__).parents[2] / "plugins" / "qgis" / "tests"
    variables = {**surroundings(home), "DUALSR_QGIS": str(plugins), "DUALSR_GEO": sys.prefix}
    # The repository's pytest settings are for another Python.
    command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", tests, tests]
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert " passed" in ran.stdout
    assert "skipped" not in ran.stdout
