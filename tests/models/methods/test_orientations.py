"""The unguided network averaged over flips and quarter turns: a turned scene gives the turned product."""

import numpy as np
import pytest
from made_up_scenes import RATIO, SEEDS, made_up, reduced_by
from wald_cases import surveyed

from dualsr_geo.engine.options import Options, require_valid
from dualsr_geo.engine.tiles.context import TileContext
from dualsr_geo.engine.tiles.sharpen import sharpen_tile
from dualsr_geo.engine.tiles.statistics import TileStatistics
from dualsr_geo.errors import OptionError
from dualsr_geo.models.registry import load_model
from dualsr_geo.raster.packing import Packing
from dualsr_geo.surveying.sampling import SurveyOptions


@pytest.fixture(scope="module")
def lr():
    return reduced_by(made_up(SEEDS[0], 112), "imresize")


def sharpened(lr, count, tile=1000):
    model = load_model("learned").with_orientations(count)
    survey = surveyed(lr, None, SurveyOptions(RATIO, mtf_gain=0.5, model=model))
    bands, shape = len(lr), lr.shape[1:]
    packing = Packing("float32", (1.0,) * bands, (0.0,) * bands, float("nan"))
    context = TileContext(shape, bands, RATIO, tile, model, model.fine, packing, "cpu", survey)
    out = np.empty((bands, *(RATIO * n for n in shape)), np.float32)
    for piece in context.tiling:
        cube = lr[(slice(None), *piece.padded.slices)]
        for rows, stored in sharpen_tile(context, piece, cube, None, TileStatistics(bands)):
            out[(rows, *piece.core.scaled(RATIO).slices)] = stored
    return out


def test_only_with_eight_orientations_a_turned_scene_gives_the_turned_product(lr):
    def difference(count):
        turned = sharpened(np.ascontiguousarray(np.rot90(lr, 1, (1, 2))[:, ::-1]), count)
        return np.abs(np.rot90(sharpened(lr, count), 1, (1, 2))[:, ::-1] - turned).max()

    assert difference(8) < 1e-4
    assert difference(1) > 1e-3


def test_tiled_is_whole(lr):
    whole, tiled = sharpened(lr, 8), sharpened(lr, 8, tile=16)
    assert np.abs(whole - tiled).max() <= 1e-5 * np.ptp(whole)


def test_other_models_and_numbers_are_refused():
    with pytest.raises(OptionError, match="--orientations 8 is for the unguided network of auto and learned"):
        load_model("interpolation").with_orientations(8)
    assert load_model("interpolation").with_orientations(1) == load_model("interpolation")
    for count in (0, 9):
        with pytest.raises(OptionError, match=f"--orientations {count} is not between 1 and 8"):
            require_valid(Options(orientations=count))


def test_the_number_is_part_of_the_identity():
    model = load_model("auto")
    assert model.with_orientations(1).identity == model.identity
    assert model.with_orientations(8).identity["ours"]["orientations"] == 8
