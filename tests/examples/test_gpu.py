"""The script that measures a card, on the CPU and, where there is one, on a card."""

import re
import subprocess
from pathlib import Path

import gpu
import pytest
import torch

from dualsr_geo.models.registry import model_names

SCRIPT = Path(gpu.__file__).with_name("gpu.sh")


def run(*arguments):
    return subprocess.run(["sh", str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_on_the_cpu_every_model_equals_itself_and_every_part_is_printed():
    done = run("--device", "cpu", "--tiny", "--budget", "3600")
    assert done.returncode == 0, done.stderr[-2000:]
    exact = re.findall(r"^\| ([\w-]+) \| float32 \| 0 \| 0.0001 \| correct \|$", done.stdout, re.MULTILINE)
    assert exact == list(model_names())
    assert re.search(r"^\| auto \| bfloat16 \| \S+ \| 0.001 \| correct \|$", done.stdout, re.MULTILINE)
    assert len(re.findall(r"^CoarseNet +bfloat16 +32 ", done.stdout, re.MULTILINE)) == len(gpu.TINY.batches)
    assert re.search(r"^\| regression \| cpu \| \d+\.\d+ \| \d+\.\d+ \|$", done.stdout, re.MULTILINE)
    assert "left out" not in done.stdout


@pytest.mark.gpu
def test_on_a_card_every_model_is_within_the_tolerance():
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU here")
    done = run("--tiny")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_the_way_out_is_named():
    done = run("--tiny")
    assert done.returncode == 2
    assert "torch finds no card. Give --device cpu" in done.stderr


@pytest.mark.parametrize(("found", "precision", "correct"), [
    (0.0, "float32", True), (2e-4, "float32", False), (2e-4, "bfloat16", True), (2e-3, "bfloat16", False),
    (float("nan"), "float32", False),
])  # fmt: skip
def test_a_difference_beyond_the_tolerance_or_without_a_value_is_wrong(found, precision, correct):
    assert gpu.is_correct(found, precision) is correct


def test_what_the_time_does_not_allow_is_left_out(capsys, tmp_path):
    assert not gpu.compare("cpu", gpu.TINY, tmp_path, end=0.0)
    gpu.measure_networks("cpu", gpu.TINY, end=0.0)
    gpu.measure_whole("cpu", gpu.TINY, tmp_path, end=0.0)
    left_out = len(list(model_names())) + 2 + len(gpu.TINY.batches) + 1
    assert capsys.readouterr().out.count("left out: no time") == left_out
