"""Inspect the blur that a scene shows, and the blur that `upscale` assumes without a guide; no product is made."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from dualsr_geo.argument_types import checked, integer, path
from dualsr_geo.engine.options import Options, changed
from dualsr_geo.engine.plan import plan_run
from dualsr_geo.engine.preparation import open_inputs
from dualsr_geo.engine.scene_survey import sample_scene, survey_sample
from dualsr_geo.evaluation.blur_plot import plot_blur
from dualsr_geo.evaluation.plot_file import require_plot, write_plot
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.models.unguided_correction import nyquist_gains
from dualsr_geo.registration.guide_placement import Placement, assumed_placement
from dualsr_geo.surveying.sampling import SurveyOptions


@reports_defects
@checked(scene=path, scale=integer, plot=path)
def check_blur(
    scene: str | os.PathLike[str],
    *,
    scale: int = 2,
    plot: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    **changes: Any,  # fields of Options, checked by its constructor
) -> dict[str, Any]:
    """Return the blur that a scene shows, and the blur that `upscale` assumes without a guide.

    Parameters
    ----------
    scene : path
    scale : int
        Ratio of pixel sizes.
    plot : path, optional
        An image to write (.png): the transfer function that the scene shows with its range, and the assumed one.
    options : Options, optional
    **changes
        Fields of `Options`.

    Returns
    -------
    dict
        scale, source, assumed_gain, assumption (a sentence), and of the scene, None where it shows nothing: gain,
        gain_range, width_px and width_error_px (pixels of the scene), pixels, blocks, frequencies (cycles a pixel
        of the scene) and transfer.

    Raises
    ------
    DualSRError
        For all inputs and options that `upscale` refuses.
    """
    if plot is not None:
        require_plot(plot, [scene])
    options = replace(changed(options, changes), model="interpolation", scale=scale)
    delivery, _ = open_inputs(scene, None, options)
    if plot is not None:
        require_plot(plot, [scene], [delivery.scene])
    plan = plan_run(delivery.scene, [], options)
    sample = sample_scene(plan.inputs, plan.scene.shape, plan.survey_options)
    # A named sensor is compared with the scene, too.
    compared = replace(plan.survey_options, mtf_named=False, psf=None, detail=False)
    shown = survey_sample(sample, compared).placement
    used = _used(shown, plan.survey_options)
    facts = {"scale": scale, **_facts(shown, used)}
    if plot is not None:
        write_plot(plot_blur(shown.scene_blur, used.psf), plot)
        facts["plot"] = os.fspath(plot)
    return facts


def _used(shown: Placement, options: SurveyOptions) -> Placement:
    """Return the placement of a run with these options."""
    is_given = options.psf is not None or (options.mtf_gain is not None and options.mtf_named)
    return assumed_placement(options) if is_given else shown


def _facts(shown: Placement, used: Placement) -> dict[str, Any]:
    blur = shown.scene_blur
    facts: dict[str, Any] = {
        "source": used.source,
        "assumed_gain": round(sum(nyquist_gains(used.psf)) / 2, 3),
        "assumption": used.assumption,
    }
    names = ("gain", "gain_range", "width_px", "width_error_px", "pixels", "blocks", "frequencies", "transfer")
    if blur is None:
        return facts | dict.fromkeys(names)
    return facts | {
        "gain": round(blur.gain, 3),
        "gain_range": [round(v, 3) for v in blur.gain_range],
        "width_px": round(blur.width_lr, 3),
        "width_error_px": round(blur.error_lr, 3),
        "pixels": blur.pixels,
        "blocks": blur.blocks,
        "frequencies": list(blur.frequencies),
        "transfer": [round(v, 3) for v in blur.transfer],
    }
