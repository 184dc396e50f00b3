"""The README's first command, but for the installation: in an empty folder, from nothing to a product."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import rasterio

README = Path(__file__).parents[2] / "README.md"
RUN = [sys.executable, "-c", "from dualsr_geo.cli import main; main(prog_name='dualsr-geo')"]


def commands():
    text = README.read_text()
    line = re.search(r"<!-- start -->\s*```sh\n(.*?)\n```", text, re.DOTALL)[1]
    return [c.split() for c in line.split(" && ") if "dualsr-geo" in c]


def test_the_readmes_first_command_makes_a_sharper_scene(tmp_path):
    for command in commands():
        assert Path(command[0]).name == "dualsr-geo"
        made = subprocess.run([*RUN, *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
    with rasterio.open(tmp_path / "demo/scene.tif") as scene, rasterio.open(tmp_path / "demo/scene_x4.tif") as product:
        assert product.bounds == scene.bounds
        assert product.shape == (scene.height * 4, scene.width * 4)
        assert product.dtypes == scene.dtypes
        sharp, soft = product.read(10).astype(float), scene.read(10).astype(float)
    # The mean survives, and there is more contrast between neighbours than interpolation could give.
    assert abs(sharp.mean() / soft.mean() - 1) < 1e-3
    assert np.abs(np.diff(sharp, axis=0)).mean() > 1.2 * np.abs(np.diff(soft, axis=0)).mean() / 4


def test_the_readme_names_the_commands_that_exist():
    from dualsr_geo.cli import main

    named = set(re.findall(r"dualsr-geo ([a-z]+(?:-[a-z]+)*)", README.read_text()))
    assert named <= set(main.commands)
