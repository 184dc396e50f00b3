"""`dualsr_geo.train` is the command `dualsr-geo train`."""

import inspect

import pytest

import dualsr_geo
from dualsr_geo import cli
from dualsr_geo.errors import DualSRError, KeywordError
from dualsr_geo.training.function import train

# Parameters of the command that are no keywords of the function, and names that differ.
NO_KEYWORDS = {"jobs", "quiet", "debug", "verbose"}
RENAMED = {"guide": "simulated_guide"}


def test_the_function_has_the_options_and_defaults_of_the_command():
    parameters = inspect.signature(train).parameters
    assert dualsr_geo.train is train
    for param in cli.main.commands["train"].params:
        if param.name in NO_KEYWORDS:
            continue
        keyword = parameters[RENAMED.get(param.name, param.name)]
        default = param.to_info_dict().get("default")
        if isinstance(default, bool | int | float | str) and keyword.name not in ("bf16", "validate"):
            assert keyword.default == default, param.name
        assert f"\n{keyword.name} : " in inspect.getdoc(train) or keyword.name == "rgb"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({}, "Give --network"),
        ({"network": "coarsr", "minutes": 1, "steps": 1}, "both set the number of steps"),
        ({"network": "coarsr", "bidx": "1"}, "--bidx is an option of --rgb"),
        ({"network": "magic", "steps": 1}, "magic"),
        ({"pan": "p.tif", "network": "coarsr"}, "finetunes the network"),
        ({"pan": "p.tif", "device": "cuda"}, "runs on the CPU"),
        ({"pan": "p.tif", "width": 8}, "`width` is for training on references"),
        ({"pan": "p.tif", "rgb": "p.tif"}, "name the same argument"),
        ({"steps": "many"}, "`steps` is 'many'"),
        ({"rate": "x"}, "`rate` is 'x'"),
        ({"bf16": 1}, "`bf16` is 1"),
        ({"references": 5}, "`references` is 5"),
    ],
)
def test_values_that_nobody_can_use_are_errors(keywords, message, tmp_path):
    references = keywords.pop("references", "nothing.tif")
    with pytest.raises(DualSRError, match=message):
        train(references, tmp_path / "o.safetensors", **keywords)


def test_a_misspelt_keyword_is_suggested(tmp_path):
    with pytest.raises(KeywordError, match="Did you mean `minutes`"):
        train("a.tif", tmp_path / "o.safetensors", minuts=1)
