"""The training config: its rates, its file, and what may differ in a resumed training."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualsr_geo.errors import OptionError, ResumeError
from dualsr_geo.training.config import TrainingConfig, load_config, require_same, save_config, steps_within


@given(st.integers(1, 500), st.integers(0, 50), st.floats(1e-6, 1.0))
def test_a_cosine_rises_then_falls_to_a_hundredth(steps, warmup, rate):
    config = TrainingConfig("toy", steps, rate=rate, warmup=min(warmup, steps - 1))
    rates = [config.rate_at(k) for k in range(steps)]
    top = config.warmup
    assert rates[:top] == sorted(set(rates[:top]))
    assert rates[top:] == sorted(set(rates[top:]), reverse=True)
    assert max(rates) <= rate * (1 + 1e-12)
    assert config.rate_at(steps) == pytest.approx(rate / 100)


def test_halving_halves():
    config = TrainingConfig("toy", 100, rate=1e-4, schedule="halving", halve_every=30)
    assert [config.rate_at(k) for k in (0, 29, 30, 89, 90)] == pytest.approx([1e-4, 1e-4, 5e-5, 2.5e-5, 1.25e-5])


def test_a_config_survives_its_file(tmp_path):
    config = TrainingConfig("toy", 7, rate=3e-4, average=0.99, samples={"references": {"a": 1}, "seed": 3})
    save_config(config, tmp_path)
    assert load_config(tmp_path) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "--steps 0 learns nothing"),
        ({"rate": 0.0}, "A learning rate of 0 is not above 0"),
        ({"rate": float("nan")}, "A learning rate of nan is not above 0"),
        ({"average": 1.5}, "--average of 1.5 is not within 0..1"),
        ({"schedule": "halving"}, "halving every 0 steps is not possible. Give --halve-every"),
    ],
)
def test_what_cannot_be_carried_out_is_refused(values, message):
    with pytest.raises(OptionError, match=message):
        TrainingConfig(**{"network": "toy", "steps": 10, **values})


def test_what_no_weight_depends_on_may_differ():
    config = TrainingConfig("toy", 10)
    require_same(config, dataclasses.replace(config, validate_s=1.0, checkpoint_s=2.0))


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(TrainingConfig) if f.name[-2:] != "_s"])
def test_all_else_may_not(field):
    # Each value is another one than the default.
    other = {
        "network": "other", "schedule": "halving", "optimiser": "adamw", "average": 0.5, "bf16": True,
        "samples": {"references": {"b": 2}},
    }  # fmt: skip
    config = TrainingConfig("toy", 10, halve_every=3)
    changed = dataclasses.replace(config, **{field: other.get(field, 20)})
    name = "references" if field == "samples" else field
    with pytest.raises(ResumeError, match=f"had {name} .*, this one has .*Give the same options"):
        require_same(config, changed)


def test_a_config_of_another_version_is_refused(tmp_path):
    saved = TrainingConfig("toy", 10).to_json()
    saved["momentum"] = saved.pop("rate")
    (tmp_path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(ResumeError, match="of another version; momentum, rate differ"):
        load_config(tmp_path)


def test_a_damaged_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"network": ')
    with pytest.raises(ResumeError, match="config.json is damaged"):
        load_config(tmp_path)


@given(st.floats(0.1, 1000), st.floats(1e-3, 2))
def test_a_budget_is_kept_with_time_for_validation(minutes, step_s):
    assert 0.85 * 60 * minutes - step_s <= steps_within(minutes, step_s) * step_s <= 0.9 * 60 * minutes


def test_a_budget_too_small_for_two_steps_is_refused():
    with pytest.raises(OptionError, match="--minutes 0.1 holds 1 steps, a step takes 4 s"):
        steps_within(0.1, 4)
