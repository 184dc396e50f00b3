"""The benchmark of speed, on a scene of a few thousand pixels."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import scenes
import speed_scenes

needs_data = pytest.mark.skipif(not scenes.DATA.is_dir(), reason="shared/data is absent")


@pytest.mark.data
@needs_data
def test_a_pair_is_mirrored_to_the_requested_size(tmp_path):
    pair = speed_scenes.write_pair(tmp_path, 4, "pan", 0.09)
    with rasterio.open(pair.scene) as scene, rasterio.open(pair.guide) as guide:
        assert (scene.count, scene.shape, guide.shape) == (4, (75, 75), (300, 300))
        assert tuple(scene.bounds) == tuple(guide.bounds)
        values = scene.read()
    # The reference has 36 lr pixels along each axis.
    np.testing.assert_array_equal(values[:, 36:72], values[:, :36][:, ::-1])


@pytest.mark.data
@needs_data
def test_it_prints_ratios_to_gdal_and_the_time_by_stage():
    script = Path(speed_scenes.__file__).with_name("speed.py")
    command = [sys.executable, str(script), "--bands", "4", "--megapixels", "0.05", "--models", "brovey"]
    done = subprocess.run([*command, "--repeat", "1", "--stages"], capture_output=True, text=True, check=True)
    rows = dict(re.findall(r"^\| (GDAL|brovey, COG) \| (\d.*) \|$", done.stdout, re.MULTILINE))
    wall = {name: float(row.split(" | ")[0]) for name, row in rows.items()}
    assert float(rows["brovey, COG"].split(" | ")[-1]) == pytest.approx(wall["brovey, COG"] / wall["GDAL"], rel=0.1)
    assert all(float(row.split(" | ")[3]) > 50 for row in rows.values()), "peak memory of a process, MiB"
    assert re.search(r"survey \d", done.stdout)
