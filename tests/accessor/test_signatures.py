"""The options of a run are the same keywords, with the same types, defaults and texts, on every surface."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import get_args

import click
import pytest

import dualsr_geo
from dualsr_geo import cli, synthetic
from dualsr_geo.accessor import ArrayAccessor, DatasetAccessor
from dualsr_geo.engine import options
from dualsr_geo.engine.option_keywords import OptionKeywords, option_texts
from dualsr_geo.engine.options import Options
from dualsr_geo.errors import KeywordError
from dualsr_geo.evaluation.evaluate import evaluate
from dualsr_geo.evaluation.guide_check import check_guide

METHODS = ("upscale", "evaluate", "guide_check", "survey", "report")
FUNCTIONS = (
    dualsr_geo.upscale,
    dualsr_geo.survey,
    evaluate,
    check_guide,
    *(getattr(accessor, name) for accessor in (ArrayAccessor, DatasetAccessor) for name in METHODS),
)
FIELDS = {f.name: f for f in fields(Options)}
# Names of click's parameters that are no options of a run.
CHOICES = {
    "precision": options.Precision,
    "coregister": options.Coregistration,
    "changes": options.ChangeHandling,
    "denoise": options.Denoising,
    "device": options.Device,
}
NO_OPTIONS = {
    "verbose",
    "scene",
    "output",
    "rgb",
    "scheduler",
    "gpus",
    "report",
    "dry_run",
    "log_json",
    "as_json",
    "quiet",
    "debug",
}


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__qualname__)
def test_every_option_is_a_named_typed_documented_keyword(function):
    parameters = inspect.signature(function).parameters
    assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    doc = inspect.getdoc(function)
    for name, field in FIELDS.items():
        parameter = parameters[name]
        assert parameter.kind is parameter.KEYWORD_ONLY
        assert parameter.annotation
        if name != "mtf_gain" or "guide_mtf_gain" not in parameters:
            assert parameter.default == field.default
            assert parameter.annotation == OptionKeywords.__annotations__[name].__forward_arg__
            assert option_texts()[name] in doc
    for name in ("rgb", "pan", "guide"):
        assert parameters[name].default is None
    assert "rgb, pan, guide : " in doc
    assert "**keywords" not in doc


@pytest.mark.parametrize("name", [*METHODS, "degrade", "quicklook"])
def test_datasets_have_the_signatures_of_arrays(name):
    ours, theirs = (inspect.signature(getattr(a, name)) for a in (ArrayAccessor, DatasetAccessor))
    assert ours.parameters == theirs.parameters


def test_the_typed_keywords_are_the_options():
    assert set(OptionKeywords.__annotations__) == set(FIELDS) == set(option_texts())


def test_the_command_line_has_the_same_options_and_defaults():
    params = {p.name: p for p in cli.main.commands["upscale"].params if isinstance(p, click.Option)}
    assert set(params) - NO_OPTIONS == set(FIELDS)
    for name in set(FIELDS) - {"spectral", "creation"}:
        default = params[name].default
        if default.__class__.__name__ == "Sentinel" or params[name].multiple:
            default = False if params[name].is_flag else None
        assert default == FIELDS[name].default, name
        if name in CHOICES:
            assert tuple(params[name].type.choices) == get_args(CHOICES[name])


def test_degrade_has_the_options_of_the_command():
    from dualsr_geo.engine.degrade_raster import degrade

    command = {p.name for p in cli.main.commands["degrade"].params} - NO_OPTIONS
    assert command <= set(inspect.signature(degrade).parameters) | {"creation"}
    assert set(inspect.signature(ArrayAccessor.degrade).parameters) - {"self"} <= command


def test_tab_completion_lists_what_there_is():
    assert {
        "upscale",
        "degrade",
        "evaluate",
        "guide_check",
        "survey",
        "report",
        "quicklook",
        "with_wavelengths",
    } <= set(dir(synthetic.as_dataarray(synthetic.make((8, 8), bands=2)).dualsr))
    assert set(dir(dualsr_geo)) == set(dualsr_geo.__all__)
    for name in dir(dualsr_geo):
        assert getattr(dualsr_geo, name) is not None


def test_a_misspelt_keyword_is_suggested_among_options_and_arguments(monkeypatch):
    monkeypatch.delenv("DUALSR_GEO_MESSAGES")
    for call, name in (({"reprot": 1}, "report"), ({"scael": 1}, "scale"), ({"clinet": 1}, "client")):
        with pytest.raises(KeywordError, match=f"Did you mean `{name}`"):
            dualsr_geo.upscale("scene.tif", **call)
