"""Models by name and by weights file; what a network promises, and what it refuses."""

from __future__ import annotations

import json
import time

import published_networks as slow
import pytest
import torch

from dualsr_geo.degradation.consistency import REACH_LR
from dualsr_geo.errors import InputError, OptionError
from dualsr_geo.models.checkpoint_import import convert
from dualsr_geo.models.definition import FINE, with_fine
from dualsr_geo.models.loading import band_network, guided_network, unguided_network
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.models.networks.unguided import UnguidedNetwork
from dualsr_geo.models.registry import load_model, models
from dualsr_geo.models.weights import SHIPPED, Card, read_card, save, sha256


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights of CoarSR x2, x3 and x4 and CoarseNet x4 with two guide bands."""
    folder = tmp_path_factory.mktemp("weights")
    states = {f"coarsr{r}": (slow.state_coarsr(r, 8, batch_norm=False), None) for r in (2, 3, 4)}
    for name, (state, scale) in {**states, "guided": (slow.state_coarsenet(8, 2), 4)}.items():
        torch.save({"model": dict(state)}, folder / f"{name}.pth")
        save(folder / f"{name}.safetensors", *convert(folder / f"{name}.pth", scale))
    return {p.stem: p for p in folder.glob("*.safetensors")}


def test_models_are_what_they_are_called():
    free = ["regression", "interpolation", "bicubic", "brovey", "gsa", "mtf-glp-hpm"]
    assert sorted(models()) == sorted(["auto", "learned", *free])
    for name, model in models().items():
        assert (load_model(name) is model) == (name in free)
        assert model.name == load_model(name).name == name
        assert model.fine in FINE
        assert model.halo > REACH_LR
        assert with_fine(model, "consistency") is model


@pytest.mark.parametrize("name", ["", "Regression", "dualsr", "absent/file.safetensors"])
def test_an_unknown_model_is_refused_with_those_there_are(name):
    with pytest.raises(OptionError, match=rf"no model `{name}`, and no file.*auto, regression, interpolation, learned"):
        load_model(name)


def test_a_weights_file_is_a_model(files):
    model = load_model(files["coarsr4"], published=True, precision="bfloat16")
    assert (model.name, model.ratios, model.fine, model.guided) == ("coarsr4", (4, 4), "none", False)
    assert model.sha256 == sha256(files["coarsr4"])
    assert model.weights.identity == {"sha256": model.sha256, "published": True, "precision": "bfloat16"}
    guided = load_model(str(files["guided"]))
    assert (guided.needs_guide, guided.weights.guide_bands, guided.block) == (True, 2, 3)


@pytest.mark.parametrize("fine", FINE)
@pytest.mark.parametrize("name", ["coarsr4", "guided"])
def test_a_halo_is_whole_blocks_and_grows_with_the_fine_stage(files, name, fine):
    model = load_model(files[name])
    refined = with_fine(model, fine)
    assert refined.halo % refined.block == 0
    assert refined.halo >= model.halo + {"none": 0, "consistency": 12, "backprojection": 6}.get(fine, 1)


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("bicubic", {"published": True}, "--published is for published networks, and `bicubic` is none"),
        ("auto", {"published": True}, "--published is for published networks, and `auto` is none"),
        ("bicubic", {"precision": "bfloat16"}, "--precision bfloat16 is for networks, and `bicubic` is none"),
    ],
)
def test_a_model_without_weights_has_no_such_choice(name, option, message):
    with pytest.raises(OptionError, match=message):
        load_model(name, **option)


def test_an_unknown_precision_is_refused():
    with pytest.raises(OptionError, match="--precision float16 is not known. Give float32 or bfloat16"):
        load_model("bicubic", precision="float16")


@pytest.mark.parametrize("name", ["auto", "learned"])
def test_our_networks_come_with_the_package(name):
    model = load_model(name, precision="bfloat16")
    own = model.networks
    assert {n: w.sha256 for n, w in own.items()} == {
        n: sha256(SHIPPED / f"{'unguided' if n == 'alone' else n}.safetensors") for n in own
    }
    assert {n: w.precision for n, w in own.items()} == {"guided": "bfloat16", "alone": "float32"}
    assert model.halo == max(w.halo for w in own.values())
    assert model.correction.shrinks == (name == "auto")


def test_the_package_is_small_and_its_weights_load_at_once():
    files = [p for p in SHIPPED.parent.rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    assert sum(p.stat().st_size for p in files) < 15e6
    networks = load_model("auto").correction
    began = time.process_time()
    guided_network.__wrapped__(networks.guided, "cpu")
    unguided_network.__wrapped__(networks.unguided, "cpu")
    assert time.process_time() - began < 0.3


def test_the_shipped_weights_say_what_they_are():
    for name, file in (("guided", "guided"), ("alone", "unguided")):
        card = read_card(SHIPPED / f"{file}.safetensors")
        training = json.loads(card.note)
        assert (card.network, card.licence, card.ratio) == (name, "Apache-2.0", 0)
        assert {"scenes", "validation", "degradations", "command", "minutes", "does_not_help", "scores"} <= set(
            training
        )
        # Its licence allows evaluation, but no training.
        assert not any("wv2" in scene for scene in training["scenes"])


@pytest.fixture
def own(tmp_path):
    """A guided network of another size, in a file."""
    place = tmp_path / "mine.safetensors"
    save(place, GuidedNetwork(8, 2).state_dict(), Card("guided", 0, 8, halo=18, licence="CC0"))
    return place


def test_own_weights_take_the_shipped_ones_place(own):
    model, shipped = load_model(own), load_model("auto").correction
    assert (model.name, model.licence, model.correction.shrinks) == ("mine", "CC0", True)
    assert model.correction.guided.sha256 == sha256(own)
    assert model.correction.unguided == shipped.unguided
    assert guided_network(model.correction.guided, "cpu").width == 8
    assert guided_network(model.correction.guided, "cpu") is guided_network(load_model(own).correction.guided, "cpu")


def test_own_weights_are_not_published(own):
    with pytest.raises(OptionError, match="mine.safetensors holds `guided`"):
        load_model(own, published=True)


def test_own_weights_that_changed_since_are_refused(own):
    planned = load_model(own).correction.guided
    save(own, GuidedNetwork(8, 1).state_dict(), Card("guided", 0, 8, halo=18), overwrite=True)
    with pytest.raises(InputError, match=rf"mine.safetensors has changed.*{planned.sha256[:12]}"):
        guided_network(planned, "cpu")


@pytest.mark.parametrize("state", [{"a": torch.zeros(1)}, UnguidedNetwork(8, 1).state_dict()])
def test_weights_of_another_network_are_refused(tmp_path, state):
    save(tmp_path / "w.safetensors", state, Card("guided", 0, 8, halo=18))
    with pytest.raises(InputError, match="does not hold the weights that its card names"):
        guided_network(load_model(tmp_path / "w.safetensors").correction.guided, "cpu")


def test_half_the_ratio(files):
    model = load_model(files["coarsr4"], published=True)
    half = model.with_half(files["coarsr2"], "backprojection").half
    assert (half.ratio, half.published, half.sha256) == (2, True, sha256(files["coarsr2"]))
    assert load_model(files["coarsr2"]).with_half(None, "backprojection").half is None
    assert model.with_half(None, "none") is model


@pytest.mark.parametrize(
    ("name", "half", "fine", "error", "message"),
    [
        ("coarsr4", None, "backprojection", OptionError, "of ratio 4 needs the result of ratio 2.*--half-model"),
        (
            "coarsr4",
            "coarsr3",
            "backprojection",
            InputError,
            "holds coarsr of ratio 3. Give weights of coarsr for ratio 2",
        ),
        ("guided", "coarsr2", "backprojection", InputError, "holds coarsr of ratio 2. Give weights of coarsenet"),
        ("coarsr4", "coarsr2", "none", OptionError, "only to --fine backprojection of ratios above 2"),
        ("coarsr2", "coarsr2", "backprojection", OptionError, "only to --fine backprojection of ratios above 2"),
        ("coarsr3", None, "backprojection", OptionError, "3 has no half"),
    ],
)
def test_another_half_is_refused(files, name, half, fine, error, message):
    with pytest.raises(error, match=message):
        load_model(files[name]).with_half(files.get(half), fine)


def test_a_name_is_no_half(files):
    with pytest.raises(InputError, match="--half-model bicubic is no weights file"):
        load_model(files["coarsr4"]).with_half("bicubic", "backprojection")


def test_finenet_is_no_model(tmp_path):
    save(tmp_path / "f.safetensors", {"a": torch.zeros(1)}, Card("finenet", 4, 8))
    with pytest.raises(
        InputError, match="There is no network `finenet`. Give weights of coarsenet or coarsr or guided or alone"
    ):
        load_model(tmp_path / "f.safetensors")


def test_weights_that_changed_since_are_refused(files, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(files["coarsr2"].read_bytes())
    planned = load_model(path).weights
    path.write_bytes(files["coarsr4"].read_bytes())
    with pytest.raises(InputError, match=rf"has changed.*{sha256(path)[:12]}.*{planned.sha256[:12]}"):
        band_network(planned, "cpu")


def test_a_network_is_loaded_once(files):
    first, second = (band_network(load_model(files["coarsr2"]).weights, "cpu") for _ in range(2))
    assert first is second
