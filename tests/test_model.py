"""Models by name."""

from __future__ import annotations

import pytest

from dualsr_geo.errors import OptionError, ScaleError
from dualsr_geo.fine import REACH_LR
from dualsr_geo.model import FINE, MODELS, choose_fine, load_model, require_ratio


def test_models_are_what_they_are_called():
    assert set(MODELS) == {"regression", "interpolation", "bicubic", "brovey", "gsa", "mtf-glp-hpm"}
    for name, model in MODELS.items():
        assert load_model(name) is model
        assert model.name == name
        assert model.fine in FINE
        assert model.halo > REACH_LR


@pytest.mark.parametrize("name", ["", "Regression", "dualsr"])
def test_an_unknown_model_is_refused_with_those_there_are(name):
    with pytest.raises(OptionError, match=rf"no model `{name}`.*regression, interpolation, bicubic"):
        load_model(name)


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
    with pytest.raises(OptionError, match="no fine stage `ibp`.*none or consistency"):
        choose_fine(load_model("bicubic"), "ibp")
