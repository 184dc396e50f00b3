"""What models promise and refuse."""

from __future__ import annotations

import pytest

from dualsr_geo.errors import InputError, OptionError, ScaleError
from dualsr_geo.models.definition import (
    FINE,
    FITTED,
    choose_fine,
    is_consistent,
    is_refined,
    planes,
    require_fine,
    require_ratio,
    with_fine,
)
from dualsr_geo.models.methods.band_network import BandNetworkModel
from dualsr_geo.models.registry import load_model
from dualsr_geo.models.weights import Weights


def network(name, guide_bands=0):
    guided = guide_bands > 0
    return BandNetworkModel(
        "mine", "", guided, halo=24, halo_covers_fine=False, ratios=(4, 4), needs_guide=guided, streams_bands=True,
        weights=Weights("/w", "0", name, 4, 64, guide_bands),
    )  # fmt: skip


@pytest.mark.parametrize("ratio", [-1, 0, 1, 33])
def test_a_ratio_out_of_range_is_refused(ratio):
    with pytest.raises(ScaleError, match=rf"sharpens 2 to 32 times, not {ratio}\."):
        require_ratio(load_model("bicubic"), ratio)


@pytest.mark.parametrize("ratio", [2, 5, 32])
def test_ratios_in_range(ratio):
    require_ratio(load_model("regression"), ratio)


def test_the_default_fine_stage_is_the_models_own():
    assert choose_fine(load_model("bicubic"), None) == "none"
    assert choose_fine(load_model("regression"), None) == "consistency"
    assert choose_fine(load_model("bicubic"), "consistency") == "consistency"
    with pytest.raises(OptionError, match="no fine stage `ibp`.*none or consistency or backprojection"):
        choose_fine(load_model("bicubic"), "ibp")
    assert choose_fine(load_model("auto"), "finenet") == "finenet"
    assert choose_fine(network("coarsr"), "backprojection") == "backprojection"
    with pytest.raises(OptionError, match="the network `mine` makes one after another. Give --fine backprojection"):
        choose_fine(network("coarsr"), "backprojection-pixel")


@pytest.mark.parametrize("fine", FITTED)
def test_what_compares_with_a_guide_wants_one(fine):
    for name in ("bicubic", "interpolation"):
        with pytest.raises(OptionError, match=f"--fine {fine} compares with a guide, and `{name}` takes none"):
            choose_fine(load_model(name), fine)
    require_fine(fine, 3, guided=True)
    with pytest.raises(OptionError, match=f"--fine {fine} compares with a guide, and none is given. Give --rgb"):
        require_fine(fine, 4, guided=False)


@pytest.mark.parametrize("ratio", [3, 5])
@pytest.mark.parametrize("fine", ["backprojection", "backprojection-pixel"])
def test_what_has_no_half_is_not_projected(fine, ratio):
    require_fine(fine, ratio - 1, guided=False)
    with pytest.raises(OptionError, match=f"--fine {fine} needs the result of half the ratio too, and {ratio} has no"):
        require_fine(fine, ratio, guided=True)


@pytest.mark.parametrize("fine", FINE)
def test_what_corrects_a_consistent_start_is_consistent(fine):
    ours, plain, net = load_model("auto"), load_model("gsa"), network("coarsenet", 3)
    assert is_refined(ours, fine) == (fine not in ("none", "consistency"))
    assert is_consistent(ours, fine) == (fine != "none")
    assert is_consistent(plain, fine) == (fine == "consistency")
    assert is_refined(net, fine) == (is_refined(ours, fine) and fine != "backprojection")
    # What looks around itself needs a wider halo, and what it looks at room.
    assert (with_fine(ours, fine).halo > ours.halo) == is_refined(ours, fine)
    assert (planes(plain, fine, 7) > plain.planes + 7) == is_refined(plain, fine)


@pytest.mark.parametrize("ratio", [2, 3, 8])
def test_weights_have_one_ratio(ratio):
    require_ratio(network("coarsr"), 4)
    with pytest.raises(ScaleError, match=rf"weights of `mine` sharpen 4 times, not {ratio}\. Give --scale 4"):
        require_ratio(network("coarsr"), ratio)


@pytest.mark.parametrize(("name", "guide_bands", "least"), [("coarsr", 0, 5), ("coarsenet", 3, 3)])
def test_too_few_bands_are_refused(name, guide_bands, least):
    model = network(name, guide_bands)
    model.require_inputs(least, guide_bands or None)
    with pytest.raises(InputError, match=rf"`{name}` reads {least} bands at a time, the scene has {least - 1}"):
        model.require_inputs(least - 1, guide_bands or None)


def test_another_guide_is_refused():
    with pytest.raises(InputError, match=r"guide has 1 band, the weights of `mine` were trained for 3"):
        network("coarsenet", 3).require_inputs(9, 1)
    with pytest.raises(OptionError, match="`mine` takes all detail from a guide, and none is given"):
        network("coarsenet", 3).require_inputs(9, None)
    # A network without a guide takes the ratio from one, whatever it shows.
    network("coarsr").require_inputs(9, 2)
