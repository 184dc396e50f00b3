"""A survey is stored complete, and read only where it is whole and of the scene, guide and options at hand."""

from __future__ import annotations

import copy
import hashlib
import json
import os

import numpy as np
import published_networks
import pytest
import rasterio
import torch
from rasterio.windows import Window

import dualsr_geo
from dualsr_geo import StoredSurvey, synthetic
from dualsr_geo.degradation.psf import Psf
from dualsr_geo.engine.on_the_fly.stored_survey import read_survey
from dualsr_geo.errors import InputError, KeywordError, OptionError, OutputError
from dualsr_geo.models.checkpoint_import import convert
from dualsr_geo.models.weights import save

PART = Window(9, 7, 20, 30)


@pytest.fixture(scope="module")
def stored(inputs, tmp_path_factory):
    path = tmp_path_factory.mktemp("survey") / "survey.json"
    return path, dualsr_geo.survey(inputs[0], path, guide=inputs[1], model="auto")


def signed(value):
    """Return the JSON of a survey with the checksum of its content."""
    content = {k: v for k, v in value.items() if k != "sha256"}
    return {**content, "sha256": hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}


def one_line(error):
    return "\n" not in str(error.value) and 20 < len(str(error.value)) < 700


def test_what_is_read_is_what_was_written(stored, inputs):
    path, survey = stored
    again = StoredSurvey.from_json(json.loads(json.dumps(survey.to_json())))
    assert again.to_json() == survey.to_json() == read_survey(path).to_json()
    ours, theirs = (dualsr_geo.sharpen_window(s, inputs[0], PART, guide=inputs[1]) for s in (survey, path))
    np.testing.assert_array_equal(ours, theirs)
    assert "guide" in repr(survey)
    assert survey.estimated().psf.ratio == survey.scale == 4


def test_an_existing_file_is_kept(stored, inputs):
    with pytest.raises(OutputError, match="exists"):
        dualsr_geo.survey(inputs[0], stored[0], guide=inputs[1])


def test_every_truncation_is_one_line(stored, tmp_path):
    text = stored[0].read_text()
    for share in (0.0, 0.1, 0.5, 0.9, 0.999):
        part = tmp_path / "part.json"
        part.write_text(text[: int(share * len(text))])
        with pytest.raises(InputError, match=r"part\.json is no JSON.*dualsr_geo\.survey") as error:
            read_survey(part)
        assert one_line(error)


def changed(survey, *keys, value):
    out = copy.deepcopy(survey)
    place = out
    for key in keys[:-1]:
        place = place[key]
    if value is KeyError:
        del place[keys[-1]]
    else:
        place[keys[-1]] = value
    return out


HOSTILE = [
    (("scale",), 10**9),
    (("scale",), "4"),
    (("scale",), True),
    (("estimates",), []),
    (("estimates", "statistics"), None),
    (("estimates", "statistics", "used"), [0, 0, 1]),
    (("estimates", "statistics", "used"), [-1]),
    (("estimates", "statistics", "used"), [7]),
    (("estimates", "statistics", "used"), []),
    (("estimates", "statistics", "low"), {}),
    (("estimates", "statistics", "space", "mean"), [[1, 2], [3]]),
    (("estimates", "statistics", "space", "mean"), {"dtype": "O", "shape": [1], "values": [1]}),
    (("estimates", "statistics", "space", "mean"), {"dtype": "float64", "shape": [10**9], "values": [1]}),
    (("estimates", "placement", "psf"), {"ratio": 4}),
    (("estimates", "placement", "psf", "taps_y"), [1e308] * 5),
    (("estimates", "placement", "moved_px"), [1e9, 0]),
    (("estimates", "placement", "moved_px"), ["inf", 0]),
    (("estimates", "notes"), "note"),
    (("estimates", "extra"), 1),
    (("estimates", "guide_bands"), [3]),
    (("estimates", "guide_bands"), "all"),
    (("estimates", "model_state"), {}),
    (("estimates", "model_state"), [1]),
    (("packing", "scales"), [1.0]),
    (("packing", "dtype"), "object"),
    (("grid", "shape"), [41]),
    (("grid",), None),
    (("scene",), KeyError),
    (("scene", "decoding", "scales"), [1.0]),
    (("guide", "decoding", "nodata"), ["zero"]),
    (("overlap",), -1.5),
    (("guide", "bands"), 1.5),
    (("options", "model"), "../../etc/passwd"),
    (("options", "scale"), "four"),
    (("identity", "model"), "other"),
    (("fine_stage",), "!!!"),
    (("fine_stage",), "AAAA"),
    (("files",), {"model": "x.safetensors"}),
    (("unknown",), 1),
]


@pytest.mark.parametrize(("keys", "value"), HOSTILE, ids=str)
def test_hostile_values_are_one_line_even_with_a_right_checksum(stored, inputs, tmp_path, keys, value):
    path = tmp_path / "survey.json"
    path.write_text(json.dumps(signed(changed(stored[1].to_json(), *keys, value=value))))
    with pytest.raises((InputError, OptionError)) as error:
        dualsr_geo.sharpen_window(path, inputs[0], PART, guide=inputs[1])
    assert one_line(error)


@pytest.mark.parametrize("value", [None, 5, [], "survey", {}, {"sha256": "x"}, {"software": 1, "layout": "x"}])
def test_other_json_is_no_survey(value):
    with pytest.raises(InputError, match="is no survey") as error:
        StoredSurvey.from_json(value)
    assert one_line(error)


def test_deep_and_large_files_are_refused(tmp_path, monkeypatch):
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 10**5 + "]" * 10**5)
    with pytest.raises(InputError, match="is no JSON"):
        read_survey(deep)
    monkeypatch.setattr("dualsr_geo.engine.on_the_fly.stored_survey.MAX_BYTES", 10)
    with pytest.raises(InputError, match="more than 10"):
        read_survey(deep)
    with pytest.raises(InputError, match="cannot be read"):
        read_survey(tmp_path / "none.json")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError):
        read_survey(tmp_path / "pipe")


def test_an_edited_survey_is_refused(stored):
    value = changed(stored[1].to_json(), "estimates", "statistics", "low", value=1.0)
    with pytest.raises(InputError, match="checksum"):
        StoredSurvey.from_json(value)


def test_another_version_is_refused(stored):
    value = signed(changed(stored[1].to_json(), "software", value="9.9.9"))
    with pytest.raises(InputError, match=r"was made by dualsr-geo 9\.9\.9"):
        StoredSurvey.from_json(value)


def other(folder, **options):
    return synthetic.write(folder, **{"shape": (41, 57), "bands": 5, "guide": "rgb", "seed": 6, **options})


def test_another_scene_or_guide_is_refused_with_both_names(stored, inputs, tmp_path):
    scene, guide = other(tmp_path / "other")
    smaller, _ = other(tmp_path / "smaller", shape=(40, 57))
    for given, its_guide, names in (
        (scene, guide, (inputs[0], scene)),
        (smaller, guide, (inputs[0], smaller)),
        (inputs[0], guide, (inputs[1], guide)),
        (inputs[0], None, (inputs[1], "no guide")),
    ):
        with pytest.raises(InputError) as error:
            dualsr_geo.sharpen_window(stored[0], given, PART, guide=its_guide)
        assert all(str(name) in str(error.value) for name in names)
        assert one_line(error)


def test_a_scene_that_changed_since_is_refused(tmp_path):
    scene, guide = other(tmp_path)
    dualsr_geo.survey(scene, tmp_path / "survey.json", guide=guide, model="regression")
    dualsr_geo.sharpen_window(tmp_path / "survey.json", scene, PART, guide=guide)
    with rasterio.open(scene, "r+") as dataset:
        dataset.write(dataset.read() + 1)
    with pytest.raises(InputError, match="changed since"):
        dualsr_geo.sharpen_window(tmp_path / "survey.json", scene, PART, guide=guide)


@pytest.mark.filterwarnings("ignore:Blur and shift of the guide:dualsr_geo.errors.DualSRWarning")
def test_a_network_of_a_file_is_given_again(inputs, tmp_path):
    weights, product = tmp_path / "net.safetensors", tmp_path / "product.tif"
    torch.save(
        {"model": published_networks.tame(published_networks.state_coarsr(2, 8, batch_norm=False))},
        tmp_path / "net.pth",
    )
    save(weights, *convert(tmp_path / "net.pth", None))
    options = {"scale": 2, "model": weights, "psf": Psf.from_mtf(2), "dtype": "float32"}
    dualsr_geo.upscale(inputs[0], product, **options)
    survey = dualsr_geo.survey(inputs[0], **options)
    assert str(weights) not in json.dumps(survey.options)
    with pytest.raises(OptionError, match=r"net\.safetensors") as error:
        dualsr_geo.sharpen_window(survey, inputs[0], PART)
    assert one_line(error)
    values = dualsr_geo.sharpen_window(survey, inputs[0], PART, model=weights)
    with rasterio.open(product) as dataset:
        expected = dataset.read(window=PART)
        assert np.abs(values.to_numpy() - expected).max() <= 1e-5 * np.ptp(dataset.read())


@pytest.mark.parametrize("survey", [None, 5, b"x", ["a"], {}])
def test_a_survey_of_another_type_is_refused(inputs, survey):
    with pytest.raises(KeywordError, match="survey.json"):
        dualsr_geo.sharpen_window(survey, inputs[0], PART)
