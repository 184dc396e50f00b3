"""`dualsr_geo.train`: a network from references, or fitted to a scene and its guide, as `dualsr-geo train` makes it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch

from dualsr_geo.argument_types import (
    checked,
    flag,
    function,
    integer,
    number,
    number_or_auto,
    only_guide,
    path,
    path_or_paths,
    text,
)
from dualsr_geo.engine.options import Device
from dualsr_geo.errors import OptionError
from dualsr_geo.io.readers.references.local import trusting
from dualsr_geo.io.storage.defects import reports_defects
from dualsr_geo.raster.packing import Nodata
from dualsr_geo.training.config import Optimiser, Schedule
from dualsr_geo.training.finetuning.finetune import FinetuningRequest, finetune
from dualsr_geo.training.registry import TaskOptions
from dualsr_geo.training.train import TrainingRequest, train_network

Where = str | os.PathLike[str]
# Keywords of the configuration of a training, and of its task.
CONFIG = (
    "steps", "rate", "schedule", "halve_every", "warmup", "optimiser", "weight_decay", "largest_gradient", "average",
    "bf16", "validate_s", "checkpoint_s",
)  # fmt: skip
TASK = ("scale", "width", "degradation", "mtf_gain", "patch", "batch", "bands", "validation_side", "published", "seed")
# Keywords of finetuning, and those that hold for both.
FINETUNING = ("begin", "minutes", "steps", "rate", "bf16", "seed", "scale", "bidx", "nodata", "licence", "note")
COMMON = (
    "references", "output", "network", "rgb", "pan", "guide", "device", "overwrite", "progress", "trust_references",
)  # fmt: skip
INTEGERS = ("scale", "steps", "width", "patch", "batch", "bands", "validation_side", "halve_every", "warmup", "seed")
NUMBERS = ("minutes", "mtf_gain", "rate", "weight_decay", "largest_gradient", "average", "validate_s", "checkpoint_s")
TEXTS = ("network", "simulated_guide", "degradation", "schedule", "optimiser", "device", "licence", "note", "bidx")


@reports_defects
@checked(
    references=path_or_paths,
    output=path,
    rgb=path_or_paths,
    pan=path_or_paths,
    guide=path_or_paths,
    begin=path,
    validate=path_or_paths,
    nodata=number_or_auto,
    published=flag,
    bf16=flag,
    trust_references=flag,
    resume=flag,
    overwrite=flag,
    progress=function,
    **dict.fromkeys(INTEGERS, integer),
    **dict.fromkeys(NUMBERS, number),
    **dict.fromkeys(TEXTS, text),
)
def train(
    references: Where | Sequence[Where],
    output: Where,
    *,
    network: str | None = None,
    rgb: Where | Sequence[Where] | None = None,
    pan: Where | Sequence[Where] | None = None,
    guide: Where | Sequence[Where] | None = None,
    begin: Where | None = None,
    scale: int | None = None,
    bidx: str | None = None,
    nodata: Nodata = None,
    trust_references: bool = False,
    minutes: float | None = None,
    steps: int | None = None,
    validate: str | Sequence[str] = (),
    simulated_guide: str | None = None,
    degradation: str | None = None,
    mtf_gain: float = 0.3,
    published: bool = False,
    width: int | None = None,
    patch: int | None = None,
    batch: int | None = None,
    bands: int = 0,
    validation_side: int = 128,
    rate: float | None = None,
    schedule: Schedule | None = None,
    halve_every: int | None = None,
    warmup: int | None = None,
    optimiser: Optimiser | None = None,
    weight_decay: float | None = None,
    largest_gradient: float | None = None,
    average: float | None = None,
    bf16: bool | None = None,
    seed: int = 0,
    validate_s: float | None = None,
    checkpoint_s: float | None = None,
    device: Device = "auto",
    licence: str = "unknown",
    note: str = "",
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Train a network on references, or fit the built-in one to scenes and their guides.

    Parameters
    ----------
    references : path or sequence of paths
        Scenes, folders of scenes, or the folders of PNGs of CAVE; with a guide the scenes to sharpen.
    output : path
        Weights file to write, ``.safetensors``.
    network : str, optional
        ``"coarsr"``, ``"coarsenet"``, ``"guided"``, or the network without a guide; needed without a guide.
    rgb, pan, guide : path or sequence of paths, optional
        Finetune the built-in network to the scenes, by any of these names: one guide for each scene in order, or a
        pattern such as ``"{stem}_pan.tif"``.
    begin : path, optional
        Weights file of the first step; with a guide the built-in weights if left out.
    scale : int, optional
        Ratio of pixel sizes: 4, or with a guide the largest that it allows, if left out.
    bidx : str, optional
        Bands of the scenes, with a guide.
    nodata : float or "auto", optional
        Nodata value of the scenes, with a guide.
    trust_references : bool
        Whether images may refer to files outside their folders.
    minutes : float, optional
        Time to train; with a guide 4 if left out.
    steps : int, optional
        Number of steps, instead of `minutes`.
    validate : str or sequence of str
        Names of references that are used for validation only.
    simulated_guide : str, optional
        Guide that is simulated from references: ``"rgb"``, ``"pan"`` or ``"none"``.
    degradation : str, optional
        How references are degraded: ``"bicubic"``, ``"mtf"``, ``"kernels"`` or ``"published-kernels"``.
    mtf_gain : float
        MTF gain of ``degradation="mtf"``.
    published : bool
        Train a published network exactly as the code of its authors does, defects included.
    width : int, optional
        Number of features.
    patch : int, optional
        Side of a patch, pixels of the references.
    batch : int, optional
        Patches per step.
    bands : int
        Number of adjacent bands of a patch; 0 for all.
    validation_side : int
        Side of the central block of each validation scene, pixels; 0 for the whole scene.
    rate : float, optional
        Largest learning rate.
    schedule : str, optional
        How the learning rate falls: ``"cosine"`` or ``"halving"``.
    halve_every : int, optional
        Steps between two halvings.
    warmup : int, optional
        Steps in which the learning rate rises to its largest value.
    optimiser : str, optional
        ``"adam"`` or ``"adamw"``.
    weight_decay : float, optional
        Of the optimiser.
    largest_gradient : float, optional
        Norm to which gradients are clipped.
    average : float, optional
        Decay of the moving average of the weights.
    bf16 : bool, optional
        Compute in bfloat16 where torch considers it safe.
    seed : int
        Of the random numbers.
    validate_s : float, optional
        Time between validations, seconds.
    checkpoint_s : float, optional
        Time between checkpoints, seconds.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    licence : str
        Licence of the weights, for their card.
    note : str
        For the card of the weights.
    resume : bool
        Continue an interrupted training on references.
    overwrite : bool
        Replace existing weights.
    progress : callable, optional
        Called with lines to print.

    Returns
    -------
    dict
        output, network, steps, seconds and finished; with a guide output and the comparison on held-out blocks.

    Raises
    ------
    DualSRError
        For any input or option that cannot be used.
    """
    given = dict(locals())
    if minutes is not None and steps is not None:
        raise OptionError("--minutes and --steps both set the number of steps. Give one of them.")
    guides = only_guide(rgb=rgb, pan=pan, guide=guide)
    sources = _as_list(references)
    with trusting(trust_references):
        if guides is not None:
            _require_finetuning(given)
            request = FinetuningRequest(**{name: given[name] for name in FINETUNING if given[name] is not None})
            result = finetune(sources, _as_list(guides), output, request, overwrite=overwrite, progress=progress)
            return {"output": os.fspath(output), **result.to_json()}
        return _on_references(sources, output, given)


def _on_references(sources: Sequence[str], output: Where, given: dict[str, Any]) -> dict[str, Any]:
    """Train a network on references; see `train`."""
    for name in ("bidx", "nodata"):
        if given[name] is not None:
            raise OptionError(f"--{name} is an option of --rgb, which is not given. Leave it out, or give --rgb.")
    if given["network"] is None:
        raise OptionError("Give --network to train on references, or --rgb to finetune the built-in network to scenes.")
    options = {name: given[name] for name in TASK if given[name] is not None}
    if given["simulated_guide"] is not None:
        options["guide"] = given["simulated_guide"]
    config = {name: given[name] for name in CONFIG if given[name] is not None}
    others = {name: given[name] for name in ("minutes", "licence", "note", "begin")}
    request = TrainingRequest(
        given["network"], TaskOptions(**options), config, **others, validate=tuple(_as_list(given["validate"]))
    )
    cuda = given["device"] == "cuda" or (given["device"] == "auto" and torch.cuda.is_available())
    result = train_network(
        sources,
        output,
        request,
        resume=given["resume"],
        overwrite=given["overwrite"],
        device="cuda" if cuda else "cpu",
        progress=given["progress"],
    )
    return {
        "output": os.fspath(output),
        "network": result.config.network,
        "steps": result.step,
        "seconds": result.seconds,
        "finished": result.finished,
    }


def _require_finetuning(given: dict[str, Any]) -> None:
    """Check that no keyword contradicts finetuning."""
    if given["network"] not in (None, "guided"):
        raise OptionError(
            f"--rgb finetunes the network `guided`, and --network is {given['network']}, which is trained on references. "
            "Leave out one of the two."
        )
    if given["device"] == "cuda":
        raise OptionError(
            "--device cuda is for training on references; finetuning (--rgb) runs on the CPU. Leave it out."
        )
    for name, parameter in inspect.signature(train).parameters.items():
        if name not in (*FINETUNING, *COMMON) and given[name] != parameter.default:
            raise OptionError(f"`{name}` is for training on references, not for finetuning (--rgb). Leave it out.")


def _as_list(value: Where | Sequence[Where]) -> list[str]:
    return [os.fspath(value)] if isinstance(value, str | os.PathLike) else [os.fspath(item) for item in value]
