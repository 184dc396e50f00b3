"""The first command of the README, without the installation, makes a product in an empty folder."""

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
    chain = re.search(r"<!-- start -->\s*```sh\n(.*?)\n```", text, re.DOTALL)[1]
    return [c.split() for c in re.split(r"\s*&&\s*", chain) if "dualsr-geo" in c]


def test_the_first_command_of_the_readme_sharpens_a_scene(tmp_path):
    for command in commands():
        assert Path(command[0]).name == "dualsr-geo"
        result = subprocess.run([*RUN, *command[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    with rasterio.open(tmp_path / "demo/scene.tif") as scene, rasterio.open(tmp_path / "demo/scene_x4.tif") as product:
        assert product.bounds == scene.bounds
        assert product.shape == (scene.height * 4, scene.width * 4)
        assert product.dtypes == scene.dtypes
        sharp, soft = product.read(10).astype(float), scene.read(10).astype(float)
    # The mean is kept, and the contrast between neighbours exceeds that of an interpolation.
    assert abs(sharp.mean() / soft.mean() - 1) < 1e-3
    assert np.abs(np.diff(sharp, axis=0)).mean() > 1.2 * np.abs(np.diff(soft, axis=0)).mean() / 4


def test_the_readme_names_commands_that_exist():
    from dualsr_geo.cli import main

    named = set(re.findall(r"dualsr-geo ([a-z]+(?:-[a-z]+)*)", README.read_text()))
    assert named <= set(main.commands)
