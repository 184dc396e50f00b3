"""Model cards, weights and checkpoints that are damaged, forged or of another kind."""

import json
import os
import pickle
import struct
from functools import partial

import numpy as np
import pytest
import torch
from delivered import raster
from hostile_case import Case, check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from dualsr_geo.errors import InputError
from dualsr_geo.models.loading import load_model
from dualsr_geo.models.networks.guided import GuidedNetwork
from dualsr_geo.models.networks.unguided import UnguidedNetwork
from dualsr_geo.models.weights import read_card

CARD = {
    "network": "guided", "ratio": 0, "width": 8, "bands": 0, "guide_bands": 0, "block": 1, "halo": 18, "seam": 4e-6,
    "batch_norm": False, "source": "", "licence": "CC0", "note": "",
}  # fmt: skip
MISSING = object()


def weights(card, state=None, *, text=None):
    """Return a safetensors file with a card."""
    tensors = GuidedNetwork(8, 1).state_dict() if state is None else state
    return save(tensors, metadata={"dualsr-geo": json.dumps(card) if text is None else text})


def scene_and_guide(folder):
    rng = np.random.default_rng(1)
    raster(folder / "scene.tif", rng.integers(500, 5000, (3, 16, 16)).astype("uint16"), 8.0)
    raster(folder / "pan.tif", rng.integers(500, 5000, (1, 32, 32)).astype("uint16"), 4.0)


def upscaled(content):
    """Return a function that writes a weights file and sharpens with it."""

    def make(folder):
        scene_and_guide(folder)
        (folder / "w.safetensors").write_bytes(content())
        return ["upscale", "scene.tif", "--rgb", "pan.tif", "--scale", "2", "--model", "w.safetensors", "-o", "out.tif"]

    return make


def shown(content):
    """Return a function that writes a weights file and shows its card."""

    def make(folder):
        (folder / "w.safetensors").write_bytes(content())
        return ["models", "show", "w.safetensors"]

    return make


def imported(write):
    """Return a function that writes a checkpoint and imports it."""

    def make(folder):
        write(folder / "w.pth")
        return ["models", "import", "w.pth", "--scale", "2"]

    return make


def card_with(name, value):
    """Return a card with another value of one field, or without the field."""
    return {k: v for k, v in {**CARD, name: value}.items() if v is not MISSING}


def card_case(name, value, error=r"^Error: The model card of w.safetensors"):
    label = "missing" if value is MISSING else repr(value)[:20]
    return Case(f"a card whose {name} is {label}", upscaled(lambda: weights(card_with(name, value))), error)


NO_INTEGERS = ("2", 2.5, True, None, [2], {}, -1, 10**30)
NAN_CARD = json.dumps(CARD).replace("4e-06", "NaN")
CARDS = (
    *(card_case("width", value) for value in (*NO_INTEGERS, 0, 4097, MISSING)),
    *(card_case("halo", value) for value in ("18", -1, 10**9, 0)),
    *(card_case("block", value) for value in (0, "1", 10**9)),
    *(card_case("ratio", value) for value in ("x", 33, MISSING)),
    *(card_case("seam", value) for value in ("x", -1, 2)),
    *(card_case("network", value) for value in (5, None, [], MISSING)),
    card_case("network", "nothing", "There is no network `nothing`. Give weights of"),
    card_case("batch_norm", "x"),
    card_case("note", 5),
    Case("a card with NaN", upscaled(lambda: weights(CARD, text=NAN_CARD)), "seam is nan, not within 0..1"),
    Case("a card that is a list", upscaled(lambda: weights([1])), "it is a list"),
    Case("a card that is no JSON", upscaled(lambda: weights(CARD, text="{")), "model card of w.safetensors cannot be read"),
    Case("a card nested 100,000 deep", upscaled(lambda: weights(CARD, text="[" * 100_000)), "cannot be read"),
    Case("a card of another width", upscaled(lambda: weights(card_with("width", 9))), "no weight with the 9 features"),
)  # fmt: skip


def with_values(value):
    state = GuidedNetwork(8, 1).state_dict()
    state["first.weight"] = torch.full_like(state["first.weight"], value)
    return state


def without(name):
    return {k: v for k, v in GuidedNetwork(8, 1).state_dict().items() if k != name}


def reshaped():
    state = GuidedNetwork(8, 1).state_dict()
    state["first.bias"] = torch.zeros(9)
    return state


WHOLE = partial(weights, CARD)
FILES = (
    Case("weights of another network", upscaled(lambda: weights(CARD, UnguidedNetwork(8, 1).state_dict())), "does not hold the weights that its card names: it lacks"),
    Case("weights without a layer", upscaled(lambda: weights(CARD, without("first.weight"))), "does not hold the weights that its card names: it lacks '?first.weight"),
    Case("weights of another shape", upscaled(lambda: weights(CARD, reshaped())), "first.bias has another shape"),
    Case("weights of NaN", upscaled(lambda: weights(CARD, with_values(float("nan")))), "`first.weight` of .*w.safetensors has values that are not finite"),
    Case("weights of integers", upscaled(lambda: weights(CARD, {k: v.to(torch.int32) for k, v in GuidedNetwork(8, 1).state_dict().items()})), "no floating-point number"),
    Case("no weights", upscaled(lambda: weights(CARD, {})), "does not hold the weights that its card names"),
    Case("no card", upscaled(lambda: save({"a": torch.zeros(1)})), "has no model card"),
    Case("an empty file", upscaled(lambda: b""), "w.safetensors is not a whole safetensors file"),
    Case("half a file", upscaled(lambda: WHOLE()[: len(WHOLE()) // 2]), "is not a whole safetensors file"),
    Case("text", upscaled(lambda: b"hello"), "is not a whole safetensors file"),
    Case("a header of 10^18 bytes", upscaled(lambda: struct.pack("<Q", 10**18) + b"{}"), "is not a whole safetensors file"),
    Case("a header that is a list", upscaled(lambda: struct.pack("<Q", 2) + b"[]"), "is not a whole safetensors file"),
    Case("offsets beyond the end", upscaled(lambda: forged({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}})), "is not a whole safetensors file"),
    Case("a card of a file that is none", shown(lambda: b"\0" * 64), "is not a whole safetensors file"),
)  # fmt: skip


def forged(header):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text


def shows(folder, *, make):
    make(folder / "w")
    return ["models", "show", "w"]


PLACES = (
    Case("the weights are a pipe", partial(shows, make=os.mkfifo), "is a pipe"),
    Case("the weights are a folder", partial(shows, make=lambda p: p.mkdir()), "is no regular file"),
)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def unharmed(folder, _outcome):
    assert not (folder / "pwned").exists()


def coarse(changed):
    """Return a function that saves a state with a key of CoarseNet."""
    return lambda path: torch.save({"model": {"gamma_speContext": torch.zeros(1), **changed}}, path)


CHECKPOINTS = (
    Case("code", imported(lambda p: p.write_bytes(pickle.dumps({"model": Bomb()}))), "holds more than tensors", verify=unharmed),
    Case("code as torch saves it", imported(lambda p: torch.save({"model": Bomb()}, p)), "holds more than tensors", verify=unharmed),
    Case("integer keys", imported(lambda p: torch.save({1: torch.zeros(1)}, p)), "holds no weights"),
    Case("an empty checkpoint", imported(lambda p: p.write_bytes(b"")), "damaged|more than tensors"),
    Case("a list", imported(lambda p: torch.save([1, 2], p)), "holds no weights"),
    Case("nested models", imported(lambda p: torch.save({"model": {"model": {}}}, p)), "holds no weights"),
    Case("sparse tensors", imported(lambda p: torch.save({"a": torch.zeros(2, 2).to_sparse()}, p)), "holds no weights"),
    Case("tensors without values", imported(lambda p: torch.save({"a": torch.zeros(2, device="meta")}, p)), "holds no weights|damaged|more than tensors"),
    Case("another network", imported(lambda p: torch.save({"body.weight": torch.zeros(3)}, p)), "no network known here"),
    Case("one layer", imported(coarse({})), "lacks|does not hold"),
    Case("a layer that is a number", imported(coarse({"head.weight": torch.tensor(5.0)})), "lacks|does not hold|axes"),
    Case("no such checkpoint", lambda _: ["models", "import", "no.pth"], r"no.pth does not exist"),
    Case("a folder", lambda _: ["models", "import", "."], "is no regular file"),
    Case("nothing", lambda _: ["models", "import", ""], "name of the checkpoint is empty"),
)  # fmt: skip
CASES = (*CARDS, *FILES, *PLACES, *CHECKPOINTS)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, tmp_path):
    check(case, tmp_path)


# ---- hypothesis --------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
STATE = GuidedNetwork(8, 1).state_dict()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(sorted(CARD)), value=JSON)
def test_any_value_of_a_card_is_right_or_refused(tmp_path, name, value):
    path = tmp_path / "w.safetensors"
    path.write_bytes(weights({**CARD, name: value}, STATE))
    refusal, card = None, None
    try:
        card = read_card(path)
    except InputError as error:
        refusal = str(error)
    assert refusal is None or "\n" not in refusal
    assert card is None or getattr(card, name) == value


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(header=st.dictionaries(st.text(max_size=8), JSON, max_size=3))
def test_any_header_is_refused(tmp_path, header):
    path = tmp_path / "w.safetensors"
    path.write_bytes(forged(header))
    with pytest.raises(InputError) as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
