"""What models promise and refuse."""

from __future__ import annotations

import pytest

from dualsr_geo.catalogue import load_model
from dualsr_geo.errors import InputError, OptionError, ScaleError
from dualsr_geo.model import Model, Weights, choose_fine, require_inputs, require_ratio


def network(name, guide_bands=0):
    weights = Weights("/w", "0", name, 4, 64, guide_bands)
    guided = guide_bands > 0
    return Model("mine", "", guided, False, "none", 24, (4, 4), needs_guide=guided, weights=weights)


@pytest.mark.parametrize("ratio", [-1, 0, 1, 33])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(ScaleError, match=rf"sharpens 2 to 32 times, not {ratio}\."):
        require_ratio(load_model("bicubic"), ratio)


@pytest.mark.parametrize("ratio", [2, 5, 32])
def test_ratios_in_range(ratio):
    require_ratio(load_model("regression"), ratio)


def test_the_fine_stage_is_the_models_own_unless_asked():
    assert choose_fine(load_model("bicubic"), None) == "none"
    assert choose_fine(load_model("regression"), None) == "consistency"
    assert choose_fine(load_model("bicubic"), "consistency") == "consistency"
    with pytest.raises(OptionError, match="no fine stage `ibp`.*none or consistency or backprojection"):
        choose_fine(load_model("bicubic"), "ibp")
    with pytest.raises(OptionError, match="backprojection is for networks, and `bicubic` is none"):
        choose_fine(load_model("bicubic"), "backprojection")
    assert choose_fine(network("coarsr"), "backprojection") == "backprojection"


@pytest.mark.parametrize("ratio", [2, 3, 8])
def test_weights_have_one_ratio(ratio):
    require_ratio(network("coarsr"), 4)
    with pytest.raises(ScaleError, match=rf"weights of `mine` sharpen 4 times, not {ratio}\. Give --scale 4"):
        require_ratio(network("coarsr"), ratio)


@pytest.mark.parametrize(("name", "guide_bands", "least"), [("coarsr", 0, 5), ("coarsenet", 3, 3)])
def test_too_few_bands_are_refused(name, guide_bands, least):
    model = network(name, guide_bands)
    require_inputs(model, least, guide_bands or None)
    with pytest.raises(InputError, match=rf"`{name}` reads {least} bands at a time, the scene has {least - 1}"):
        require_inputs(model, least - 1, guide_bands or None)


def test_another_guide_is_refused():
    with pytest.raises(InputError, match=r"guide has 1 band, the weights of `mine` were trained for 3"):
        require_inputs(network("coarsenet", 3), 9, 1)
    with pytest.raises(OptionError, match="`mine` takes all detail from a guide, and none is given"):
        require_inputs(network("coarsenet", 3), 9, None)
    # A network without a guide takes the ratio from one, whatever it shows.
    require_inputs(network("coarsr"), 9, 2)
