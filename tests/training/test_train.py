"""`dualsr-geo train`: from files to weights that sharpen, stopped and gone on with, refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import dualsr_geo
from dualsr_geo.cli import main
from dualsr_geo.models.weights import read_card, read_tensors
from dualsr_geo.training import trainer

TINY = ("--scale", "2", "--width", "8", "--patch", "16", "--batch", "2", "--bands", "5", "-j", "1")


@pytest.fixture
def cave(tmp_path):
    """Three scenes of 31 bands as CAVE stores them."""
    for k, name in enumerate(("beads", "cloth", "sponges")):
        folder = tmp_path / "cave" / name
        folder.mkdir(parents=True)
        for band in range(31):
            plane = np.random.default_rng((k, band)).integers(0, 65536, (33, 40))
            Image.fromarray(plane.astype(np.uint16)).save(folder / f"{name}_ms_{band + 1:02}.png")
    return tmp_path / "cave"


def run(*words):
    return CliRunner().invoke(main, ["train", *map(str, words)], catch_exceptions=False)


@pytest.mark.parametrize(("network", "guide_bands"), [("coarsr", 0), ("coarsenet", 3)])
def test_references_become_weights_that_load(cave, tmp_path, network, guide_bands):
    result = run(
        cave, "-o", tmp_path / "w.safetensors", "--network", network, "--steps", 3, "--validate", "sponges", *TINY
    )
    assert result.exit_code == 0, result.output
    assert "step 3/3 " in result.stderr
    assert "sponges" in result.stderr
    assert result.stdout.startswith(f"{tmp_path / 'w.safetensors'}: {network}, 3 steps")
    card = read_card(tmp_path / "w.safetensors")
    assert (card.network, card.ratio, card.width, card.guide_bands) == (network, 2, 8, guide_bands)
    note = json.loads(card.note)
    assert note["steps"] == "3 of 3"
    assert list(note["config"]["samples"]["references"]) == ["beads", "cloth"]
    assert set(note["scores"]["sponges"]) == {"psnr", "sam"}
    model = dualsr_geo.load_model(tmp_path / "w.safetensors")
    guide = (np.ones((3, 14, 18), np.float32),) if guide_bands else ()
    assert model(np.ones((5, 7, 9), np.float32), *guide).shape == (5, 14, 18)
    assert {p.name for p in (tmp_path / "w.training").iterdir()} == {
        "config.json", "checkpoint.safetensors", "log.csv",
    }  # fmt: skip


def test_a_budget_is_fixed_once_and_kept_when_it_goes_on(cave, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    words = (cave, "-o", tmp_path / "w.safetensors", "--network", "coarsr", "--minutes", "0.01", *TINY)
    monkeypatch.setattr("dualsr_geo.training.train.step_seconds", lambda *_: 0.088)  # 6 steps
    train = trainer.train
    monkeypatch.setattr("dualsr_geo.training.train.train", lambda *a, **k: train(*a, **k, budget_s=0))
    stopped = run(*words)
    assert (stopped.exit_code, "Stopped after step 0 of 6. Continue with --resume." in stopped.stderr) == (1, True)
    monkeypatch.setattr("dualsr_geo.training.train.train", train)
    monkeypatch.setattr("dualsr_geo.training.train.step_seconds", lambda *_: 0.01)
    resumed = run(*words, "--resume")
    assert "coarsr, 6 steps" in resumed.stdout
    whole = run(*(w if w != tmp_path / "w.safetensors" else tmp_path / "v.safetensors" for w in words[:-14]),
                "--network", "coarsr", "--steps", 6, *TINY)  # fmt: skip
    assert whole.exit_code == 0, whole.output
    one, other = (read_tensors(tmp_path / f"{n}.safetensors") for n in "wv")
    assert all(torch.equal(one[k], other[k]) for k in one)


def test_what_is_there_is_not_overwritten(cave, tmp_path):
    words = (cave, "-o", tmp_path / "w.safetensors", "--network", "coarsr", "--steps", 1, *TINY)
    assert run(*words).exit_code == 0
    again = run(*words)
    assert again.exit_code == 1
    assert "w.safetensors exists. Give --resume to continue it, or --overwrite to start again." in again.stderr
    assert run(*words, "--overwrite").exit_code == 0
    other = run(*words, "--resume", "--seed", "1")
    assert "had seed 0, this one has 1" in other.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--network", "coarser"), "--network coarser cannot be trained. Give one of coarsr, coarsenet"),
        (("--network", "coarsr", "--guide", "rgb"), "--network coarsr takes no --guide rgb"),
        (("--network", "coarsr", "--validate", "feathers"), "--validate feathers is none of the references: beads"),
        (("--network", "coarsr", "--patch", "36"), "beads has 33 x 40 pixels, a patch has 36 x 36"),
        (("--network", "coarsr", "--rate", "-1"), "A learning rate of -1 is not above 0"),
        (("--network", "coarsr", "--resume"), "holds no training to resume"),
    ],
)
def test_mistakes_are_one_line(cave, tmp_path, words, message):
    result = run(cave, "-o", tmp_path / "w.safetensors", *TINY, "--steps", 1, *words)
    assert result.exit_code == 1
    (line,) = result.stderr.strip().splitlines()
    assert message in line
    assert not list(tmp_path.glob("w.*"))


def test_steps_and_minutes_contradict_each_other(cave, tmp_path):
    result = run(cave, "-o", tmp_path / "w.safetensors", "--network", "coarsr", "--steps", 1, "--minutes", 1)
    assert (result.exit_code, "Give one of them" in result.stderr) == (2, True)


def test_the_folder_of_the_weights_must_exist(cave, tmp_path):
    result = run(cave, "-o", tmp_path / "none" / "w.safetensors", "--network", "coarsr")
    assert "The folder" in result.stderr
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Give --network to train on references, or --rgb to finetune"),
        (("--nodata", 0), "--nodata is an option of --rgb"),
    ],
)
def test_without_a_guide_a_network_is_named_and_no_scene_is_read(cave, tmp_path, words, message):
    result = run(cave, "-o", tmp_path / "w.safetensors", *words)
    assert (result.exit_code, message in result.stderr) == (2, True)


def test_training_goes_on_from_other_weights(cave, tmp_path):
    first, second = (tmp_path / f"{n}.safetensors" for n in "ab")
    words = ("--network", "coarsr", "--steps", 1, *TINY)
    assert run(cave, "-o", first, *words).exit_code == 0
    assert run(cave, "-o", second, *words, "--begin", first, "--rate", 1e-12, "--seed", 1).exit_code == 0
    a, b = read_tensors(first), read_tensors(second)
    assert all(torch.allclose(a[k], b[k], atol=1e-9) for k in a)
    assert "--begin" in run(cave, "-o", second, "--overwrite", "--network", "coarsenet", "--begin", first, *TINY).stderr
