"""Our network fitted to a scene of its own: what is held out stays out, what does not pay is refused."""

from __future__ import annotations

import errno
import json
import os
import time
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from click.testing import CliRunner
from guided_cases import random_guided_network, random_inputs
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo import synthetic
from dualsr_geo.cli import main
from dualsr_geo.errors import OptionError
from dualsr_geo.models import weights
from dualsr_geo.models.networks.guided import GAINS, ORIENTATIONS, GuidedNetwork
from dualsr_geo.training.config import TrainingConfig
from dualsr_geo.training.finetuning import finetune
from dualsr_geo.training.finetuning import task as task_module
from dualsr_geo.training.finetuning import training_pairs as pairs_of
from dualsr_geo.training.finetuning.finetune import FinetuningRequest, guides_of
from dualsr_geo.training.finetuning.holdout import (
    block_squared_errors,
    score_blocks,
)
from dualsr_geo.training.finetuning.task import FinetuningTask
from dualsr_geo.training.tasks.guided_samples import sample_loss

SHAPES = st.tuples(st.integers(8, 130), st.integers(8, 130))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A scene of 54 x 66 pixels in 6 bands with its pan at ratio 2, and an untrained network to begin with."""
    folder = tmp_path_factory.mktemp("own")
    synthetic.write(folder, shape=(54, 66), ratio=2, bands=6, guide="pan", seed=3)
    torch.manual_seed(0)
    card = weights.Card("guided", 0, 8, halo=18, seam=4e-6, source="here")
    weights.save(folder / "begin.safetensors", GuidedNetwork(8, 1).state_dict(), card)
    return folder


def pairs_of_scenes(scenes: list[Path], guides: list[Path], request: FinetuningRequest) -> list[pairs_of.TrainingPair]:
    return finetune._read_pairs(scenes, guides, request, time.monotonic(), lambda _line: None)


@lru_cache(maxsize=2)
def learned(folder: Path, scale: int = 2) -> list[pairs_of.TrainingPair]:
    with torch.no_grad():
        return pairs_of_scenes([folder / "scene.tif"], [folder / "pan.tif"], FinetuningRequest(scale=scale))


def run(place, output, *words):
    told_ = ["train", place / "scene.tif", "-o", output, "--begin", place / "begin.safetensors", "-j", 1, *words]
    return CliRunner().invoke(main, [str(w) for w in told_], catch_exceptions=False)


# ---- what is held out --------------------------------------------------------------------


@given(SHAPES, st.integers(2, 24), st.integers(1, 99))
def test_held_out_blocks_are_squares_apart_and_at_most_a_quarter(shape, side, first):
    made = pairs_of.held_out_blocks(shape, side, first)
    numbers, counts = np.unique(made[made > 0], return_counts=True)
    assert (counts == side**2).all()
    assert list(numbers) == list(range(first, first + len(numbers)))
    assert len(numbers) == pairs_of._count([shape], side)
    assert (made > 0).mean() <= 0.25
    assert abs((numbers % 2 == 0).sum() - (numbers % 2 == 1).sum()) <= 1
    for number in numbers:
        y, x = np.nonzero(made == number)
        near = made[max(y.min() - side, 0) : y.max() + side + 1, max(x.min() - side, 0) : x.max() + side + 1]
        assert set(np.unique(near)) <= {0, number}


@given(st.lists(SHAPES, min_size=1, max_size=4), st.sampled_from([2, 3, 4, 8]))
def test_blocks_are_whole_lr_pixels_and_enough(shapes, ratio):
    side = pairs_of.held_side(shapes, ratio)
    if side is None:
        assert pairs_of._count(shapes, 3 * ratio) < 8
    else:
        assert side % ratio == 0
        assert side >= 3 * ratio
        assert pairs_of._count(shapes, side) >= 8


@given(SHAPES, st.integers(6, 24), st.integers(1, 4))
def test_what_is_learned_keeps_its_distance(shape, side, margin):
    held = torch.from_numpy(pairs_of.held_out_blocks(shape, side, 1))
    learned_ = pairs_of._outside(held, margin)
    for y, x in np.argwhere(learned_.numpy())[::37]:
        near = held[max(y - margin, 0) : y + margin + 1, max(x - margin, 0) : x + margin + 1]
        assert not bool(near.any())


def test_nothing_of_a_held_out_block_is_learned(place):
    (pair,) = learned(place)
    network = random_guided_network()
    before = sample_loss(network, pair.sample, pair.mask)
    one = pair.sample
    moved = replace(one, lacking=one.lacking + 5 * one.error[:, None, None] * (pair.held_out > 0))
    after = sample_loss(network, moved, pair.mask)
    assert float(before.detach()) == float(after.detach())
    assert float(sample_loss(network, moved).detach()) > 1.1 * float(before.detach())


def test_no_pixel_without_scene_or_guide_counts(place, tmp_path):
    for name in ("scene", "pan"):
        with rasterio.open(place / f"{name}.tif") as file:
            values, profile = file.read(), file.profile
        values[:, :20] = profile["nodata"]
        with rasterio.open(tmp_path / f"{name}.tif", "w", **profile) as file:
            file.write(values)
    with torch.no_grad():
        (half,) = pairs_of_scenes([place / "scene.tif"], [tmp_path / "pan.tif"], FinetuningRequest())
        (cut,) = pairs_of_scenes([tmp_path / "scene.tif"], [place / "pan.tif"], FinetuningRequest())
    assert not bool(half.mask[:9].any() | (half.held_out[:9] > 0).any())
    assert not bool(cut.mask[:20].any() | (cut.held_out[:20] > 0).any())
    assert bool(half.mask[14:].any())
    assert bool(cut.mask[23:].any())


def test_a_window_at_ratio_4_also_teaches_at_2_but_does_not_judge(tmp_path):
    synthetic.write(tmp_path, shape=(80, 75), ratio=4, bands=4, guide="pan", seed=1)
    with torch.no_grad():
        first, second = pairs_of_scenes([tmp_path / "scene.tif"], [tmp_path / "pan.tif"], FinetuningRequest())
    assert (first.ratio, first.own_ratio, second.ratio, second.own_ratio) == (4, True, 2, False)
    height, width = first.held_out.shape
    assert torch.equal(first.held_out, second.held_out[:height, :width])
    assert len(score_blocks(GuidedNetwork(8, 1), [first, second]).windows) == 1


def test_scenes_of_an_archive_are_numbered_through_and_bounded(place, tmp_path, monkeypatch):
    synthetic.write(tmp_path, shape=(61, 44), ratio=2, bands=3, guide="pan", seed=5)
    scenes, guides = ([folder / f"{n}.tif" for folder in (place, tmp_path)] for n in ("scene", "pan"))
    with torch.no_grad():
        one, other = pairs_of_scenes(scenes, guides, FinetuningRequest())
        assert set(one.held_out.unique().tolist()) & set(other.held_out.unique().tolist()) == {0}
        assert [len(p.reference) for p in (one, other)] == [6, 3]
        assert len(block_squared_errors(score_blocks(GuidedNetwork(8, 1), [one, other]).cross_validated(odd=True))) >= 8
        # The middle of a scene, guide and all: its start is as good.
        monkeypatch.setattr(finetune, "MAX_LR_PX", 2 * 42**2)
        (cut, _) = pairs_of_scenes(scenes, guides, FinetuningRequest())
        monkeypatch.setattr(finetune, "MAX_SCENES", 1)
        assert len(pairs_of_scenes(scenes, guides, FinetuningRequest())) == 1
    assert cut.reference.shape == (6, 42, 42)
    assert torch.equal(cut.reference, one.reference[:, 6:48, 12:54])
    assert bool((cut.sample.error < 1.5 * one.sample.error[: len(cut.sample.error)]).all())


def test_a_noisy_scene_is_learned_by_components_and_judged_by_bands(tmp_path):
    synthetic.write(tmp_path, shape=(46, 52), ratio=2, bands=24, guide="pan", noise=0.02)
    with torch.no_grad():
        (pair,) = pairs_of_scenes([tmp_path / "scene.tif"], [tmp_path / "pan.tif"], FinetuningRequest())
        (pixels,) = score_blocks(random_guided_network(), [pair]).windows
    assert pair.inputs.spectral
    assert pixels.correction.shape == pixels.reference.shape == (24, int((pair.held_out > 0).sum()))
    assert np.abs(pixels.start - pixels.reference).mean() < 0.3 * pixels.reference.std()


# ---- how it is learned -------------------------------------------------------------------


def test_all_ways_to_lay_a_pair_average_to_what_the_network_averages():
    network = random_guided_network()
    planes, constants = random_inputs(2, 12, 16)
    constants[:, GAINS[1]] = constants[:, GAINS[0]]
    with torch.inference_mode():
        ways = [task_module.run_oriented(network, planes, constants, 4, way) for way in ORIENTATIONS]
        logits, residual = network(planes, constants, 4, orientations=8)
    torch.testing.assert_close(torch.stack([w[0] for w in ways]).mean(0), logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.stack([w[1] for w in ways]).mean(0), residual, atol=1e-5, rtol=1e-5)


def test_the_order_of_bands_is_reversed_by_changing_their_neighbours(place):
    pair = learned(place)[0]
    one = pair.sample
    row = next(i for i, band in enumerate(one.anchors) if 0 < band < len(pair.inputs.std) - 1)
    band = one.anchors[row]
    beside = [pair.window.start([b], spectral=False)[0] / float(pair.inputs.std[b]) for b in (band + 1, band - 1)]
    torch.testing.assert_close(
        task_module.reversed_bands(one.network_input.planes)[row, list(task_module.NEIGHBOUR_PLANES)],
        torch.stack(beside),
    )


def test_a_batch_depends_on_seed_and_step_alone(place):
    task, again, other = (FinetuningTask(learned(place), {}, seed) for seed in (4, 4, 5))
    task.batch(0)
    for a, b in zip(task.batch(7), again.batch(7), strict=True):
        assert torch.equal(a.sample.network_input.planes, b.sample.network_input.planes)
        assert a.orientation == b.orientation
    drawn = [[one.orientation for one in some.batch(step)] for some in (task, other) for step in range(6)]
    assert drawn[:6] != drawn[6:]


# ---- scores --------------------------------------------------------------------------------


def test_an_untrained_network_is_its_start(place):
    trial = score_blocks(GuidedNetwork(8, 1), learned(place))
    (pixels,) = trial.windows
    pair = learned(place)[0]
    some = (pair.held_out > 0).numpy()
    truth = pair.reference.numpy()
    np.testing.assert_allclose(pixels.reference, truth[:, some] / truth.max(), rtol=1e-6)
    np.testing.assert_allclose(pixels.correction, 0, atol=1e-6)
    assert np.abs(pixels.start - pixels.reference).mean() < 0.1 * pixels.reference.std()


# ---- the command -------------------------------------------------------------------------


FIT = ("--steps", 40, "--rate", "3e-3")


@pytest.fixture(scope="module")
def fitted(place):
    """What the command says, having written `mine.safetensors`."""
    made = run(place, place / "mine.safetensors", "--rgb", place / "pan.tif", *FIT)
    assert made.exit_code == 0, made.output
    return made


def test_a_scene_teaches_a_network(place, fitted):
    assert "step 40/40 " in fitted.stderr
    first, second, third = fitted.stdout.splitlines()
    assert first == f"{place / 'mine.safetensors'}: finetuned to 1 scene"
    assert " held-out blocks: start " in second
    assert third.startswith("mean gain of a block ")
    card = weights.read_card(place / "mine.safetensors")
    assert (card.network, card.ratio, card.width, card.halo, card.seam) == ("guided", 0, 8, 18, 4e-6)
    said = json.loads(card.note)
    assert said["fitted"]["psnr"] > said["begin"]["psnr"] == pytest.approx(said["start"]["psnr"])
    assert said["gain_db"] > said["error_db"] > 0
    assert (said["steps"], said["seed"]) == (40, 0)
    assert said["begin_sha256"] == weights.sha256(place / "begin.safetensors")


def test_what_it_learned_sharpens(place, fitted, tmp_path):
    product = tmp_path / "product.tif"
    words = ["upscale", place / "scene.tif", "--rgb", place / "pan.tif", "-o", product, "-j", 1]
    made = CliRunner().invoke(main, [str(w) for w in (*words, "--model", place / "mine.safetensors")])
    assert made.exit_code == 0, made.output
    with rasterio.open(product) as file:
        assert file.shape == (108, 132)


def test_same_seed_same_weights_and_a_pattern_finds_the_guide(place, fitted, tmp_path):
    for name in ("scene", "scene_pan"):
        source = place / ("scene.tif" if name == "scene" else "pan.tif")
        (tmp_path / f"{name}.tif").write_bytes(source.read_bytes())
    words = (tmp_path / "scene.tif", "-o", tmp_path / "a.safetensors", "--rgb", "{stem}_pan.tif", *FIT)
    words = ("train", *words, "--begin", place / "begin.safetensors", "-j", 1, "-q")
    made = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert (made.exit_code, made.stdout) == (0, ""), made.output
    a, b = (weights.read_tensors(f) for f in (tmp_path / "a.safetensors", place / "mine.safetensors"))
    assert all(torch.equal(a[k], b[k]) for k in b)


def test_minutes_fix_the_steps(place, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "step_seconds", lambda *_: 0.5)
    made = run(place, tmp_path / "a.safetensors", "--rgb", place / "pan.tif", "--minutes", 0.2, "--rate", "3e-3")
    # 12 s less the beginning, an eighth of it aside, half a second each.
    last = [line for line in made.stderr.splitlines() if line.startswith("step ")][-1]
    done, steps = map(int, last.split()[1].split("/"))
    assert done == steps
    assert 2 <= steps <= 21


def test_it_stops_where_steps_take_longer_than_was_timed(place):
    task = FinetuningTask(learned(place), weights.read_tensors(place / "begin.safetensors"))
    config, said = TrainingConfig("guided", 10, 1e-3), []
    _, verdict = finetune._train(task, config, said.append, FinetuningRequest(minutes=1), time.monotonic() - 61)
    assert (verdict.steps, len(said)) == (2, 1)
    _, verdict = finetune._train(
        task, config, said.append, FinetuningRequest(minutes=1, steps=10), time.monotonic() - 61
    )
    assert verdict.steps == 10


def test_a_gain_of_nothing_is_refused_and_nothing_written(place, tmp_path):
    made = run(place, tmp_path / "a.safetensors", "--rgb", place / "pan.tif", "--steps", 2, "--rate", "1e-9", "-q")
    assert made.exit_code == 1
    (line,) = made.stderr.strip().splitlines()
    assert "Fitted, begin.safetensors has " in line
    assert "+0.000 +- 0.000 dB" in line
    assert line.endswith("leave --model out.")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_former_weights_whole(place, tmp_path, monkeypatch):
    output = tmp_path / "a.safetensors"
    output.write_bytes(b"former")

    def full(_source, _target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    words = ("--rgb", place / "pan.tif", *FIT, "-q")
    assert "a.safetensors exists. Give --overwrite" in run(place, output, *words).stderr
    made = run(place, output, *words, "--overwrite")
    assert made.exit_code == 1
    assert "could not be written: No space left on device" in made.stderr
    assert output.read_bytes() == b"former"
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def beside(place, folder, columns):
    """Write a pan that begins so many of its columns further right."""
    with rasterio.open(place / "pan.tif") as file:
        values, profile = file.read(), file.profile
    profile["transform"] = profile["transform"] @ rasterio.Affine.translation(columns, 0)
    with rasterio.open(folder / f"{columns}.tif", "w", **profile) as file:
        file.write(values)
    return folder / f"{columns}.tif"


def empty(place, folder):
    """Write a scene of nodata."""
    with rasterio.open(place / "scene.tif") as file:
        profile, values = file.profile, file.read()
    with rasterio.open(folder / "empty.tif", "w", **profile) as file:
        file.write(np.full_like(values, profile["nodata"]))
    return folder / "empty.tif"


def holed(place, folder):
    """Write a scene with pixels in 24 rows and 40 columns only."""
    with rasterio.open(place / "scene.tif") as file:
        profile, values = file.profile, file.read()
    values[:, 24:] = profile["nodata"]
    values[:, :, 40:] = profile["nodata"]
    with rasterio.open(folder / "holed.tif", "w", **profile) as file:
        file.write(values)
    return folder / "holed.tif"


def test_bad_input_is_one_line(place, tmp_path):
    synthetic.write(tmp_path / "small", shape=(24, 31), ratio=4, bands=3, guide="pan")
    small = ("train", tmp_path / "small/scene.tif", "--rgb", tmp_path / "small/pan.tif")
    pan, scene = place / "pan.tif", place / "scene.tif"
    weights.save(tmp_path / "other.safetensors", {"w": torch.zeros(1)}, weights.Card("coarsr", 4, 64))
    cases = [
        (("train", scene, "--rgb", beside(place, tmp_path, 131)), "covers 27 of 3564 sampled lr pixels"),
        (("train", scene, "--rgb", beside(place, tmp_path, 5000)), "they do not overlap. Give a guide of the same"),
        (
            ("train", empty(place, tmp_path), "--rgb", pan),
            "empty.tif: The scene holds no valid pixel in 3564 sampled ones",
        ),
        (small, "The guide covers 24 x 31 lr pixels of"),
        (small, "scene.tif, too few to hold out 8 blocks of 12 pixels; 72 x 72 would do"),
        (("train", holed(place, tmp_path), "--rgb", pan), "leave 6 blocks to hold out, fewer than 8"),
        (("train", scene, scene, scene, "--rgb", pan, "--rgb", pan), "There are 3 scenes and 2 guides"),
        (("train", scene, "--rgb", "{stem}_pan.tif"), "scene_pan.tif"),
        (
            ("train", scene, "--rgb", pan, "--begin", tmp_path / "other.safetensors"),
            "holds coarsr, and only the network",
        ),
        (("train", scene, "--rgb", pan, "--begin", tmp_path / "none.safetensors"), "none.safetensors does not exist"),
        (("train", scene, "--rgb", pan, "-o", tmp_path / "none" / "a.safetensors"), "does not exist. Create it"),
        (
            ("train", scene, "--rgb", pan, "--minutes", "0.0001"),
            "0.0001 is too little: reading and surveying takes about",
        ),
        (("train", scene, "--rgb", pan, "--steps", "0"), "--steps 0 learns nothing"),
    ]
    for words, said in cases:
        made = CliRunner().invoke(main, list(map(str, (words[0], "-o", tmp_path / "a.safetensors", *words[1:]))))
        assert made.exit_code == 1, (words, made.output)
        *progress, line = made.stderr.strip().splitlines()
        assert all(p.startswith("Reading and surveying scene 1 of 1: ") for p in progress)
        assert said in line, line
    assert not (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--network", "coarsr"), "--rgb finetunes the network `guided`, and --network is coarsr"),
        (("--resume",), "--resume is for training on references, not for finetuning"),
        (("--width", "8"), "--width is for training on references"),
        (("--device", "cuda"), "finetuning (--rgb) runs on the CPU"),
        (("--minutes", "1", "--steps", "2"), "Give one of them"),
    ],
)
def test_options_that_contradict_a_self_fit(place, tmp_path, words, said):
    made = run(place, tmp_path / "a.safetensors", "--rgb", place / "pan.tif", *words)
    assert (made.exit_code, said in made.stderr) == (2, True), made.stderr


def test_guides_are_found_by_pattern_or_order(tmp_path):
    scenes = [tmp_path / "one" / "a.tif", tmp_path / "two" / "b.c.tif"]
    assert guides_of(scenes, ["{stem}_pan.tif"]) == [tmp_path / "one" / "a_pan.tif", tmp_path / "two" / "b.c_pan.tif"]
    assert guides_of(scenes, ["x.tif", "y.tif"]) == [Path("x.tif"), Path("y.tif")]
    assert guides_of(scenes[:1], ["/far/{stem}.tif"]) == [Path("/far/a.tif")]
    with pytest.raises(OptionError, match="2 scenes and 0 guides"):
        guides_of(scenes, [])
    with pytest.raises(OptionError, match="0 scenes and 0 guides"):
        guides_of([], [])
