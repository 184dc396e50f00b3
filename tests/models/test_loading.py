"""Networks by file: checkpoints of the authors are converted, other files are refused."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import published_networks as slow
import pytest
import torch
from click.testing import CliRunner

from dualsr_geo.cli import main
from dualsr_geo.errors import InputError, OptionError, OutputError, ScaleError
from dualsr_geo.models.checkpoint_import import convert, read_checkpoint
from dualsr_geo.models.loading import load_model
from dualsr_geo.models.weights import Card, read_card, read_tensors, save, sha256

recorded = pytest.mark.skipif(not slow.PARITY.is_dir(), reason=f"{slow.PARITY} is absent")


def saved(path, state):
    """Write a checkpoint as the authors' training scripts do."""
    torch.save({"epoch": 7, "model": dict(state), "optimizer": {"param_groups": [{"lr": 1e-4}]}}, path)
    return path


def imported(tmp_path, state, scale=None):
    tensors, card = convert(saved(tmp_path / "theirs.pth", state), scale)
    save(tmp_path / "ours.safetensors", tensors, card)
    return tmp_path / "ours.safetensors"


def run(*words):
    return CliRunner().invoke(main, ["models", *map(str, words)], catch_exceptions=False)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_coarsr_from_file_is_the_slow_statement(tmp_path, published, batch_norm):
    state = slow.state_coarsr(2, 8, batch_norm=batch_norm)
    model = load_model(imported(tmp_path, state), published=published)
    cube = np.random.default_rng(0).random((6, 9, 7)).astype(np.float32)
    with torch.inference_mode():
        wanted = slow.coarsr(state, torch.from_numpy(cube)[None], 2, published=published)[0].numpy()
    np.testing.assert_allclose(model(cube), wanted, atol=1e-5)
    assert model.card.batch_norm is batch_norm
    assert (model.card.network, model.card.ratio, model.card.width) == ("coarsr", 2, 8)


@pytest.mark.parametrize("published", [False, True])
def test_coarsenet_from_file_is_the_slow_statement(tmp_path, published):
    state = slow.state_coarsenet(8, 2)
    model = load_model(imported(tmp_path, state, 3), published=published)
    random = np.random.default_rng(0)
    cube, guide = random.random((4, 7, 10), np.float32), random.random((2, 21, 30), np.float32)
    with torch.inference_mode():
        batch = torch.from_numpy(cube)[None], torch.from_numpy(guide)[None]
        wanted = slow.coarsenet(state, *batch, 3, published=published)[0].numpy()
    np.testing.assert_allclose(model(cube, guide), wanted, atol=1e-5)


@recorded
@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "scale"), [("dualsr_coarsr_x2", None), ("dualsr_coarsr_x4", None), ("sfpn_coarsenet_x4", 4)]
)
@pytest.mark.parametrize("published", [False, True])
def test_recorded_answers_from_file(tmp_path, name, scale, published):
    tensors, card = convert(slow.PARITY / f"{name}.pth", scale)
    save(tmp_path / "m.safetensors", tensors, card)
    with np.load(slow.PARITY / f"{name}.npz") as z:
        given = (z["lr"][0], z["rgb"][0]) if scale else (z["lr"][0],)
        wanted = z["sr_published" if published else "sr"][0]
    np.testing.assert_allclose(load_model(tmp_path / "m.safetensors", published=published)(*given), wanted, atol=1e-5)


def test_the_command_imports(tmp_path):
    theirs = saved(tmp_path / "a.pth", slow.state_coarsr(4, 8, batch_norm=True))
    done = run("import", theirs, "-o", tmp_path / "a.safetensors")
    assert done.exit_code == 0, done.output
    assert "coarsr" in done.stdout
    card = read_card(tmp_path / "a.safetensors")
    assert (card.ratio, card.source, card.licence) == (4, "a.pth", "unknown")
    shown = json.loads(run("show", tmp_path / "a.safetensors", "--json").stdout)
    assert (shown["network"], shown["sha256"]) == ("coarsr", sha256(tmp_path / "a.safetensors"))
    again = run("import", theirs, "-o", tmp_path / "a.safetensors")
    assert again.exit_code == 1
    assert "a.safetensors exists" in again.stderr
    assert run("import", theirs, "-o", tmp_path / "a.safetensors", "--overwrite").exit_code == 0


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def _pickle(path):
    path.write_bytes(pickle.dumps({"model": Bomb()}))


def _truncated(path):
    saved(path, slow.state_coarsr(2, 8, batch_norm=False))
    path.write_bytes(path.read_bytes()[:5000])


def _lacking(path):
    state = dict(slow.state_coarsr(2, 8, batch_norm=False))
    state.pop("module.tail.1.bias")
    saved(path, state)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_pickle, "holds more than tensors.*not run"),
        (_truncated, "damaged"),
        (_lacking, "lacks `tail.1.bias`"),
        (lambda p: p.write_text("hello"), "damaged|more than tensors"),
        (lambda p: saved(p, {"module.body.weight": torch.zeros(3)}), "no network known here.*body.weight"),
        (lambda p: torch.save({"model": {}}, p), "holds no weights"),
        (lambda p: torch.save(torch.zeros(3), p), "holds no weights"),
    ],
)
def test_what_is_no_checkpoint_is_refused_by_name(tmp_path, monkeypatch, make, message):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "x.pth")
    with pytest.raises(InputError, match=message) as caught:
        convert(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()


def test_missing_files_and_ratios(tmp_path):
    with pytest.raises(InputError, match=r"no\.pth does not exist"):
        read_checkpoint(tmp_path / "no.pth")
    sfpn = saved(tmp_path / "s.pth", slow.state_coarsenet(8))
    with pytest.raises(OptionError, match="cannot be read from weights of coarsenet.*--scale"):
        convert(sfpn)
    with pytest.raises(ScaleError, match=r"--scale 64.*2\.\.32"):
        convert(sfpn, 64)
    with pytest.raises(OptionError, match="for ratio 2, but --scale is 4"):
        convert(saved(tmp_path / "d.pth", slow.state_coarsr(2, 8, batch_norm=False)), 4)


def test_calls_that_do_not_fit_the_weights(tmp_path):
    unguided = load_model(imported(tmp_path, slow.state_coarsr(2, 8, batch_norm=False)))
    with pytest.raises(InputError, match="4"):
        unguided(np.zeros((4, 9, 9), np.float32))
    with pytest.raises(InputError, match="takes no guide"):
        unguided(np.zeros((6, 9, 9), np.float32), np.zeros((1, 18, 18), np.float32))
    with pytest.raises(InputError, match="2 axes"):
        unguided(np.zeros((9, 9), np.float32))
    (tmp_path / "b").mkdir()
    guided = load_model(imported(tmp_path / "b", slow.state_coarsenet(8, 3), 2))
    with pytest.raises(InputError, match="guide of 3 bands"):
        guided(np.zeros((6, 9, 9), np.float32))
    with pytest.raises(InputError, match="guide has 1 bands, the weights were trained for 3"):
        guided(np.zeros((6, 9, 9), np.float32), np.zeros((1, 18, 18), np.float32))


# ---- the file ----------------------------------------------------------------------------


def test_a_file_keeps_tensors_and_card(tmp_path):
    tensors = {"a.weight": torch.rand(3, 4), "a.bias": torch.rand(3)}
    card = Card("coarsr", 4, 16, halo=24, note="ü")
    save(tmp_path / "m.safetensors", tensors, card)
    assert read_card(tmp_path / "m.safetensors") == card
    for name, value in read_tensors(tmp_path / "m.safetensors").items():
        assert torch.equal(value, tensors[name])
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    with pytest.raises(OutputError, match="exists.*--overwrite"):
        save(tmp_path / "m.safetensors", tensors, card)
    with pytest.raises(OutputError, match="no does not exist|no of|The folder"):
        save(tmp_path / "no/m.safetensors", tensors, card)


def test_files_that_are_not_ours(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, tmp_path / "bare.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    save_file({"a": torch.zeros(2)}, tmp_path / "odd.safetensors", metadata={"dualsr-geo": "[1]"})
    for name, message in (
        ("bare", "no model card"),
        ("text", "not a whole safetensors"),
        ("odd", "model card"),
        ("gone", "not exist"),
    ):
        with pytest.raises(InputError, match=message):
            load_model(tmp_path / f"{name}.safetensors")
