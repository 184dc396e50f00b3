"""The training loop: the same weights however often it was stopped, and no progress lost."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_task import Toy, toy_config

from dualsr_geo.errors import DualSRWarning, OptionError, OutputError, ResumeError
from dualsr_geo.training import checkpoint
from dualsr_geo.training.trainer import Callbacks, step_seconds, train

PROGRAM = str(Path(__file__).parents[1] / "helpers" / "toy_task.py")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def weights(result):
    return torch.cat([w.flatten() for w in result.network.state_dict().values()]).numpy()


@pytest.mark.parametrize("optimiser", ["adam", "adamw"])
@pytest.mark.parametrize("average", [0.0, 0.9])
def test_stopped_and_resumed_is_undisturbed(tmp_path, optimiser, average):
    options = toy_config(optimiser=optimiser, average=average, weight_decay=0.01, largest_gradient=0.5)
    whole = train(Toy(), options, tmp_path / "whole")
    stopped = train(Toy(stop_at=11, signal=signal.SIGTERM), options, tmp_path / "parts")
    assert (stopped.finished, stopped.step) == (False, 12)
    resumed = train(Toy(), options, tmp_path / "parts", resume=True)
    assert resumed.finished
    np.testing.assert_array_equal(weights(resumed), weights(whole))
    assert not np.array_equal(weights(resumed), weights(stopped))


def test_a_resumed_run_draws_only_the_steps_that_are_left(tmp_path):
    train(Toy(stop_at=11, signal=signal.SIGINT), toy_config(), tmp_path)
    rest = Toy()
    train(rest, toy_config(), tmp_path, resume=True)
    assert rest.steps_drawn == list(range(12, 30))


def test_killed_at_any_moment_the_rest_gives_the_same_weights(tmp_path):
    command = [sys.executable, PROGRAM, str(tmp_path / "killed"), "0.05", "30"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / checkpoint.FILE).exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    saved = checkpoint.load(tmp_path / "killed")
    assert 0 < saved.step < 30
    resumed = train(Toy(), toy_config(), tmp_path / "killed", resume=True)
    np.testing.assert_array_equal(weights(resumed), weights(train(Toy(), toy_config(), tmp_path / "whole")))


def test_two_processes_learn_from_samples_of_their_own_and_end_alike(tmp_path):
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [*run, PROGRAM, str(tmp_path), "0", "6"], check=True, env=environment, capture_output=True, timeout=300
    )
    first, second = (np.load(tmp_path / f"rank{rank}.npy") for rank in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, weights(train(Both(), toy_config(6), tmp_path / "one")), atol=1e-5)


class Both(Toy):
    """One process that sees what two see."""

    def batch(self, step):
        pairs = [Toy.batch(self, 2 * step + k) for k in range(2)]
        return tuple(map(torch.cat, zip(*pairs, strict=True)))


def test_it_learns(tmp_path):
    with torch.inference_mode():
        untrained = Toy().validate(Toy().network())["toy"]
    result = train(Toy(), toy_config(120), tmp_path)
    assert result.scores["toy"]["psnr"] > untrained["psnr"] + 3


def test_the_log_tells_every_row_and_ends_with_scores(tmp_path):
    lines = []
    result = train(Toy(), toy_config(), tmp_path, callbacks=Callbacks(progress=lines.append))
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [int(row["step"]) for row in rows] == list(range(1, 31))
    assert float(rows[-1]["toy psnr"]) == pytest.approx(result.scores["toy"]["psnr"], abs=1e-3)
    assert lines[-1].startswith("step 30/30 ")
    assert f"toy {result.scores['toy']['psnr']:.2f} dB" in lines[-1]


def test_a_step_that_is_not_finite_is_skipped(tmp_path):
    with pytest.warns(DualSRWarning, match="Step 8 is skipped: loss nan"):
        result = train(Toy(broken=frozenset({7})), toy_config(), tmp_path)
    assert np.isfinite(weights(result)).all()
    assert result.finished


def test_many_such_steps_end_it_and_keep_the_checkpoint(tmp_path):
    task = Toy(broken=frozenset(range(5, 30)))
    with (
        pytest.warns(DualSRWarning, match="is skipped"),
        pytest.raises(OptionError, match=r"not finite 20 steps in a row, up to step 25 \(loss nan\).*--rate than 0.01"),
    ):
        train(task, toy_config(checkpoint_s=0.0), tmp_path)
    assert checkpoint.load(tmp_path).step == 24


def full(_):
    raise OSError(28, "No space left on device")


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    train(Toy(), toy_config(), tmp_path)
    before = (tmp_path / checkpoint.FILE).read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device.*the last one stays.*Free some space"):
        checkpoint.save(checkpoint.load(tmp_path), tmp_path)
    assert (tmp_path / checkpoint.FILE).read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([checkpoint.FILE, "config.json", "log.csv"])


def test_a_full_disk_is_warned_of_and_the_training_goes_on(tmp_path, monkeypatch):
    class Filling(Toy):
        def batch(self, step):
            monkeypatch.setattr(os, "fsync", full if 10 <= step < 20 else lambda _: None)
            return super().batch(step)

    with pytest.warns(DualSRWarning, match="could not be written.*The training continues") as warned:
        result = train(Filling(), toy_config(checkpoint_s=0.0), tmp_path / "full")
    assert len(warned) == 10
    np.testing.assert_array_equal(weights(result), weights(train(Toy(), toy_config(), tmp_path / "whole")))
    assert checkpoint.load(tmp_path / "full").step == 30


def test_weights_that_cannot_be_written_are_tried_again_and_fail_in_one_line(tmp_path):
    with (
        pytest.warns(DualSRWarning, match="No space left on device.*The training continues"),
        pytest.raises(OutputError, match="the weights next to it could not be written .No space left on device"),
    ):
        train(Toy(), toy_config(checkpoint_s=0.0), tmp_path, callbacks=Callbacks(checkpoint=full))
    assert checkpoint.load(tmp_path).step == 30


def test_a_checkpoint_of_another_config_is_refused(tmp_path):
    train(Toy(), toy_config(), tmp_path)
    with pytest.raises(ResumeError, match="had rate 0.01, this one has 0.02.*--overwrite"):
        train(Toy(), toy_config(rate=2e-2), tmp_path, resume=True)
    train(Toy(), toy_config(samples={"data": "of A"}), tmp_path / "a")
    with pytest.raises(ResumeError, match="had data of A, this one has of B"):
        train(Toy(), toy_config(samples={"data": "of B"}), tmp_path / "a", resume=True)


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "VERSION", 7)
    train(Toy(), toy_config(), tmp_path)
    monkeypatch.undo()
    with pytest.raises(ResumeError, match="is of version 7, this is version 2"):
        train(Toy(), toy_config(), tmp_path, resume=True)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    train(Toy(), toy_config(), tmp_path)
    place = tmp_path / checkpoint.FILE
    place.write_bytes(place.read_bytes()[:-100])
    with pytest.raises(ResumeError, match="checkpoint.safetensors is damaged"):
        train(Toy(), toy_config(), tmp_path, resume=True)


def test_a_folder_without_a_run_cannot_be_resumed(tmp_path):
    with pytest.raises(ResumeError, match="holds no training to resume"):
        train(Toy(), toy_config(), tmp_path, resume=True)


def test_a_budget_stops_between_steps(tmp_path):
    result = train(Toy(pause_s=0.02), toy_config(1000), tmp_path, budget_s=0.3)
    assert 0 < result.step < 30
    assert checkpoint.load(tmp_path).step == result.step


def test_what_is_kept_is_what_the_checkpoint_holds(tmp_path):
    written = []
    train(
        Toy(),
        toy_config(checkpoint_s=0.0),
        tmp_path,
        callbacks=Callbacks(checkpoint=lambda result: written.append(weights(result))),
    )
    tensors = checkpoint.load(tmp_path).tensors
    averages = torch.cat([v.flatten() for k, v in tensors.items() if k.startswith("average.")]).numpy()
    assert sorted(averages) == sorted(written[-1])
    assert len(written) == 31


def test_a_step_is_timed_on_a_network_that_is_forgotten():
    assert 0.02 <= step_seconds(Toy(pause_s=0.02), toy_config()) < 2


def test_the_config_is_saved_with_the_run(tmp_path):
    train(Toy(), toy_config(seed=5), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["seed"] == 5
