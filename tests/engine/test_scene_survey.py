"""The survey of a scene: what is read, in which order, and that every reader gives the same."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from dualsr_geo import synthetic
from dualsr_geo.engine.inputs import SourceReader, read_registered_guide
from dualsr_geo.engine.scene_survey import sample_scene, survey_sample, survey_scene
from dualsr_geo.io.scenes import open_scene
from dualsr_geo.raster.windows import Window
from dualsr_geo.registration import local_displacement
from dualsr_geo.registration.displacement_field import DisplacementField
from dualsr_geo.registration.guide_placement import sample_margin
from dualsr_geo.serialization import to_json
from dualsr_geo.surveying.sampling import SurveyOptions, sample_windows

SHAPE, RATIO = (24, 30), 2


@dataclass
class ArrayReader:
    """Reads from arrays, and remembers what it read."""

    scene: NDArray[np.float32]
    guide: NDArray[np.float32] | None
    scene_windows: list[Window] = field(default_factory=list)
    guide_windows: list[Window] = field(default_factory=list)

    def read_scene(self, window: Window) -> NDArray[np.float32]:
        self.scene_windows.append(window)
        return self.scene[:, *window.slices]

    def read_guide(self, window: Window) -> NDArray[np.float32] | None:
        self.guide_windows.append(window)
        if self.guide is None:
            return None
        rows, columns = np.arange(window.y0, window.y1), np.arange(window.x0, window.x1)
        height, width = self.guide.shape[1:]
        out = self.guide[:, rows.clip(0, height - 1)][:, :, columns.clip(0, width - 1)]
        inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))
        return np.where(inside, out, np.float32(np.nan))


@pytest.fixture
def reader() -> ArrayReader:
    sample = synthetic.make(SHAPE, bands=4, ratio=RATIO)
    return ArrayReader(*(np.asarray(synthetic.as_dataarray(sample, w), np.float32) for w in ("scene", "guide")))


def test_a_survey_reads_only_the_sample(reader: ArrayReader) -> None:
    survey = survey_scene(reader, SHAPE, SurveyOptions(RATIO))
    assert reader.scene_windows == sample_windows(SHAPE)
    assert reader.guide_windows == [w.scaled(RATIO).grown(sample_margin(RATIO)) for w in sample_windows(SHAPE)]
    assert survey.guide is not None
    assert survey.displacement is None


def test_without_a_guide_no_displacement_is_estimated(reader: ArrayReader) -> None:
    reader.guide = None
    sample = sample_scene(reader, SHAPE, SurveyOptions(RATIO, coregister="local"))
    assert sample.field is None
    assert [window.guide for window in sample.windows] == [None]
    assert reader.scene_windows == sample_windows(SHAPE)


def test_the_sampled_guide_is_registered_with_the_field(reader: ArrayReader, monkeypatch: pytest.MonkeyPatch) -> None:
    estimate = DisplacementField((SHAPE[0] * RATIO, SHAPE[1] * RATIO), np.full((2, 5, 5), 1.5, np.float32))
    monkeypatch.setattr(local_displacement, "estimate_local_displacement", lambda *_: estimate)
    options = SurveyOptions(RATIO, coregister="local")
    sample = sample_scene(reader, SHAPE, options)
    assert sample.field is estimate
    around = sample_windows(SHAPE)[0].scaled(RATIO).grown(sample_margin(RATIO))
    expected = read_registered_guide(reader, around, estimate)
    np.testing.assert_array_equal(sample.windows[0].guide, expected)
    assert survey_sample(sample, options).displacement is estimate


def test_files_and_arrays_give_the_same_survey(reader: ArrayReader) -> None:
    from dualsr_geo.engine.options import Options
    from dualsr_geo.engine.plan import plan_run

    sample = synthetic.make(SHAPE, bands=4, ratio=RATIO)
    scene, guide = (open_scene(synthetic.as_dataarray(sample, w)) for w in ("scene", "guide"))
    plan = plan_run(scene, [guide], Options(model="regression"))
    assert isinstance(plan.inputs, SourceReader)
    surveys = [to_json(survey_scene(inputs, SHAPE, plan.survey_options)) for inputs in (plan.inputs, reader)]
    assert json.dumps(surveys[0]) == json.dumps(surveys[1])
