"""`dualsr-geo train`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import click
from click.core import ParameterSource

from dualsr_geo.cli import options

# Options that are fields of `TrainingConfig`, and of `TaskOptions`.
CONFIG = ("steps", "rate", "schedule", "halve_every", "warmup", "optimiser", "weight_decay", "largest_gradient",
          "average", "bf16", "validate_s", "checkpoint_s")  # fmt: skip
TASK = ("scale", "width", "guide", "degradation", "mtf_gain", "patch", "batch", "bands", "validation_side",
          "published", "seed")  # fmt: skip
# What a self-fit takes; all else is for training from references.
SELF_FIT = ("begin", "minutes", "steps", "rate", "bf16", "seed", "scale", "bidx", "nodata", "licence", "note")
BESIDE = ("references", "output", "network", "rgb", "device", "jobs", "overwrite", "quiet")


@click.command(short_help="Train a network from references, or fit ours to a scene and its guide.")
@click.argument("references", type=click.Path(), nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(), required=True, help="The weights to write, .safetensors.")
@click.option("--network", help="coarsr (DualSR), coarsenet (SFPN), or ours: guided (which --rgb fits) or alone.")
@click.option(
    "--rgb",
    type=click.Path(),
    multiple=True,
    metavar="GUIDE",
    help="Fit our network to the scenes themselves: a guide for each in order, or one pattern such as '{stem}_pan.tif'.",
)
@click.option("--begin", type=click.Path(), help="Weights to begin with. For a self-fit the shipped ones by default.")
@click.option("--scale", type=int, help="4 by default; for a self-fit the largest that the guide allows.")
@options.bidx
@options.nodata
@click.option(
    "--minutes", type=float, help="A budget: the number of steps is fixed by timing a few. At most 4 for a self-fit."
)
@click.option("--steps", type=int, help="By default as many as the network's own recipe has.")
@click.option("--validate", multiple=True, metavar="NAME", help="A reference not to learn from; repeatable.")
@click.option(
    "--guide", type=click.Choice(["rgb", "pan", "none"]), help="What is simulated: Nikon D700, mean of bands."
)
@click.option("--degradation", type=click.Choice(["bicubic", "mtf", "kernels", "published-kernels"]))
@click.option("--mtf-gain", type=float, default=0.3, show_default=True, help="Of --degradation mtf.")
@click.option("--published", is_flag=True, help="Train what the authors' code computes, its slips included.")
@click.option("--width", type=int, help="Features; 64 by default.")
@click.option("--patch", type=int, help="Side of a patch, pixels of the references.")
@click.option("--batch", type=int, help="Patches of a step.")
@click.option("--bands", type=int, default=0, help="Bands in sequence; all by default.")
@click.option("--validation-side", type=int, default=128, show_default=True, help="Pixels amid each scene; 0 for all.")
@click.option("--rate", type=float, help="Learning rate at its highest.")
@click.option("--schedule", type=click.Choice(["cosine", "halving"]))
@click.option("--halve-every", type=int, help="Steps, of --schedule halving.")
@click.option("--warmup", type=int, help="Steps over which the rate rises.")
@click.option("--optimiser", type=click.Choice(["adam", "adamw"]))
@click.option("--weight-decay", type=float)
@click.option("--largest-gradient", type=float, help="Norm that gradients are cut to.")
@click.option("--average", type=float, help="Decay of a moving average of the weights, e.g. 0.999.")
@click.option("--bf16/--float32", "bf16", default=None, help="Compute in bfloat16 where torch deems it safe.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--validate-every", "validate_s", type=float, metavar="SECONDS")
@click.option("--checkpoint-every", "checkpoint_s", type=float, metavar="SECONDS")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("-j", "--jobs", type=int, help="Threads of torch.")
@click.option("--licence", default="unknown", help="Of the weights, for their card.")
@click.option("--note", default="", help="Anything else for the card.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted training.")
@options.overwrite
@options.quiet
def train(  # one keyword an option, passed on untouched
    *,
    references: tuple[str, ...],
    output: str,
    network: str | None,
    rgb: tuple[str, ...],
    resume: bool,
    overwrite: bool,
    device: str,
    jobs: int | None,
    quiet: bool,
    **chosen: Any,  # as click parsed them
) -> None:
    """Train a network from REFERENCES: scenes, folders of scenes, or CAVE's folders of PNGs.

    With --rgb they are scenes with their guides, and our network is fitted to them in minutes; no
    reference is needed. Weights are only written where blocks of the scenes that were held out improve.

    Config, checkpoint and log are next to the weights, in the folder OUTPUT's stem + `.training`.
    Several GPUs: `torchrun --no-python --nproc-per-node N dualsr-geo train ...`.

    \b
        dualsr-geo train scene.tif --rgb pan.tif -o mine.safetensors
        dualsr-geo train cave -o mine.safetensors --network coarsenet --scale 4 --minutes 60 \\
            --validate sponges --validate thread_spools
    """  # noqa: D301  # click looks for the character, which a raw string has not
    import torch  # noqa: PLC0415

    if chosen["minutes"] is not None and chosen["steps"] is not None:
        raise click.UsageError("--minutes fixes the steps, and --steps is given too. Give one of them.")
    if jobs is not None:
        torch.set_num_threads(jobs)
    if rgb:
        _require_self_fit(network, device)
        _self_fit(references, rgb, output, chosen, overwrite=overwrite, quiet=quiet)
        return
    for name in ("bidx", "nodata"):
        if chosen[name] is not None:
            raise click.UsageError(f"--{name} is for a self-fit, and --rgb is not given. Leave it out.")
    if network is None:
        raise click.UsageError("Give --network to train from references, or --rgb to fit ours to scenes and guides.")
    from dualsr_geo.training.registry import TaskOptions  # noqa: PLC0415
    from dualsr_geo.training.train import TrainingRequest, train_network  # noqa: PLC0415

    said = {name: chosen[name] for name in CONFIG if chosen[name] is not None}
    asked = {name: chosen[name] for name in ("minutes", "validate", "licence", "note", "begin")}
    task = {name: chosen[name] for name in TASK if chosen[name] is not None}
    request = TrainingRequest(network, TaskOptions(**task), said, **asked)
    with _processes(device) as used:
        quiet = quiet or os.environ.get("RANK", "0") != "0"
        progress = None if quiet else partial(click.echo, err=True)
        made = train_network(
            references, output, request, resume=resume, overwrite=overwrite, device=used, progress=progress
        )
    if not made.finished:
        click.echo(f"Stopped after step {made.step} of {made.config.steps}. Continue with --resume.", err=True)
        sys.exit(1)
    if not quiet:
        click.echo(f"{output}: {made.config.network}, {made.step} steps, {made.seconds / 60:.1f} min")


def _require_self_fit(network: str | None, device: str) -> None:
    """Raise UsageError where an option contradicts --rgb."""
    if network not in (None, "guided"):
        raise click.UsageError(
            f"--rgb fits our network `guided` to scenes, and --network is {network}, which needs references of high "
            "resolution. Leave out one of the two."
        )
    if device == "cuda":
        raise click.UsageError("--device cuda is for training from references; a self-fit (--rgb) runs on the CPU.")
    context = click.get_current_context()
    for param in context.command.params:
        given = context.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
        if given and param.name not in (*SELF_FIT, *BESIDE):
            raise click.UsageError(
                f"{param.opts[0]} is for training from references, not for a self-fit (--rgb). Leave it out."
            )


def _self_fit(
    scenes: tuple[str, ...], rgb: tuple[str, ...], output: str, chosen: dict[str, Any], *, overwrite: bool, quiet: bool
) -> None:
    from dualsr_geo.training.finetuning.finetune import FinetuningRequest, finetune  # noqa: PLC0415

    request = FinetuningRequest(**{name: chosen[name] for name in SELF_FIT if chosen[name] is not None})
    progress = None if quiet else partial(click.echo, err=True)
    verdict = finetune(scenes, rgb, output, request, overwrite=overwrite, progress=progress)
    if not quiet:
        click.echo("\n".join([f"{output}: fitted to {len(scenes)} scene{'s' * (len(scenes) > 1)}", *verdict.lines()]))


@contextmanager
def _processes(device: str) -> Iterator[str]:
    """Join the processes of torchrun, if it started this one; yield the device to use."""
    import torch  # noqa: PLC0415
    from torch import distributed  # noqa: PLC0415

    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if "LOCAL_RANK" not in os.environ:
        yield "cuda" if cuda else "cpu"
        return
    own = f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(own)
    # torch tells of 1 x 1 convolutions, whose gradients lie otherwise in memory; it costs a copy of them.
    warnings.filterwarnings("ignore", "Grad strides do not match", UserWarning)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield own
    finally:
        distributed.destroy_process_group()
