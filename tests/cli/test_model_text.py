"""Models in words."""

import contextlib
import json

import pytest
import torch
from click.testing import CliRunner
from published_networks import state_coarsr

from dualsr_geo.cli import main
from dualsr_geo.cli.model_text import PUBLISHED, describe_card
from dualsr_geo.models.architectures import architectures
from dualsr_geo.models.cards.descriptions import CITATIONS
from dualsr_geo.models.methods import model_names

CARD = {
    "network": "mine", "ratio": 4, "bands": 31, "guide_bands": 3, "width": 8, "halo": 5, "licence": "MIT", "source": "",
    "note": "", "sha256": "ab" * 32,
}  # fmt: skip


def show(*words):
    result = CliRunner().invoke(main, ["models", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_default_is_shown_with_training_scores_licence_and_citation():
    lines = show("show", "auto").splitlines()
    assert lines[0].startswith("auto: ")
    fields = {line.partition(":")[0] for line in lines[1:] if line}
    assert fields == {
        "guide", "ratios", "fine stage", "licence", "time", "network", "from", "trained on", "tested on", "how good",
        "no help for", "sha256", "cite",
    }  # fmt: skip
    assert sum(line.startswith("trained on:  19 scenes: abu-airport-4") for line in lines) == 2
    assert any("PSNR" in line and "dB over the start without it (mean of 12 tests)" in line for line in lines)
    assert "/" not in lines[0]


@pytest.mark.parametrize("name", model_names())
def test_every_model_is_shown_in_words(name):
    text = show("show", name)
    assert text.startswith(f"{name}: ")
    assert text.splitlines()[-1].startswith("cite: ")
    assert not text.startswith("{")


def test_published_networks_are_listed_with_what_is_missing():
    listed = show("list").splitlines()
    for name in ("coarsr", "coarsenet"):
        assert any(line.split()[0] == name and "bring weights" in line for line in listed)
        assert "bring weights" in show("show", name)
        assert json.loads(show("show", name, "--json"))["cite"] == CITATIONS[name]
        assert PUBLISHED[name] in show("show", name)
        assert architectures()[name].checkpoint is not None


@pytest.mark.parametrize(
    "note",
    ["{", "[1]", '{"scenes": 3, "scores": 4}', '{"scores": {"a": {"psnr": "x", "start_psnr": 1}, "b": 5}}', '{"does_not_help": []}', "[" * 5000],
    ids=range(6),
)  # fmt: skip
def test_a_strange_note_is_shown_as_it_is_or_left_out(note):
    text = describe_card({**CARD, "note": note})
    assert "bands:       31" in text
    assert "how good" not in text
    assert "trained on" not in text


def test_an_imported_checkpoint_is_written_to_the_current_folder(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "mine").mkdir()
    torch.save({"epoch": 7, "model": dict(state_coarsr(4, 8, batch_norm=True))}, tmp_path / "theirs" / "w.pth")
    with contextlib.chdir(tmp_path / "mine"):
        result = CliRunner().invoke(main, ["models", "import", str(tmp_path / "theirs" / "w.pth")])
    assert result.exit_code == 0, result.output
    assert [p.name for p in (tmp_path / "theirs").iterdir()] == ["w.pth"]
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["w.safetensors"]
    text = show("show", tmp_path / "mine" / "w.safetensors")
    assert text.startswith("Weights of `coarsr`")
    assert "ratios:      4" in text
    assert "Dual-Stage Approach" in text
