"""`dualsr-geo train`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from click.core import ParameterSource

from dualsr_geo.cli import options
from dualsr_geo.cli.command import Command
from dualsr_geo.cli.surface import print_progress, print_result

# Options of the training configuration, and of the training task; each has the name of a field there.
CONFIG_OPTIONS = ("steps", "rate", "schedule", "halve_every", "warmup", "optimiser", "weight_decay", "largest_gradient",
          "average", "bf16", "validate_s", "checkpoint_s")  # fmt: skip
TASK_OPTIONS = ("scale", "width", "guide", "degradation", "mtf_gain", "patch", "batch", "bands", "validation_side",
          "published", "seed")  # fmt: skip
# Options of finetuning to scenes (--rgb), and options that hold for both; all others are for training from references.
FINETUNING_OPTIONS = ("begin", "minutes", "steps", "rate", "bf16", "seed", "scale", "bidx", "nodata", "licence", "note")
COMMON_OPTIONS = ("references", "output", "network", "rgb", "device", "jobs", "overwrite", "quiet",
          "trust_references")  # fmt: skip

# Largest number of threads; more than any machine has cores.
MAX_THREADS = 1024


@click.command(cls=Command, short_help="Train a network on references, or finetune one to a scene and its guide.")
@click.argument("references", type=click.Path(), nargs=-1, required=True)
@click.option("-o", "--output", type=click.Path(), required=True, help="Weights file to write, .safetensors.")
@click.option(
    "--network",
    help="coarsr (DualSR), coarsenet (SFPN), or a built-in network: guided (the one that --rgb finetunes) or `alone` (without a guide).",
)
@click.option(
    "--rgb",
    type=click.Path(),
    multiple=True,
    metavar="GUIDE",
    help="Finetune the built-in network to the scenes: one guide for each, in order, or a pattern such as '{stem}_pan.tif'.",
)
@click.option(
    "--begin", type=click.Path(), help="Weights file of the first step.  [default with --rgb: the built-in weights]"
)
@click.option(
    "--scale", type=int, help="Ratio of pixel sizes.  [default: 4; with --rgb the largest that the guide allows]"
)
@options.bidx
@options.nodata
@options.trust_references
@click.option(
    "--minutes",
    type=float,
    help="Time to train; the number of steps follows from the time of the first ones. With --rgb at most 4 by default.",
)
@click.option("--steps", type=int, help="Number of steps.  [default: that of the network]")
@click.option(
    "--validate", multiple=True, metavar="NAME", help="Reference that is used for validation only. Repeatable."
)
@click.option(
    "--guide",
    type=click.Choice(["rgb", "pan", "none"]),
    help="Simulated guide: RGB of a Nikon D700, the mean of the bands, or none.",
)
@click.option(
    "--degradation",
    type=click.Choice(["bicubic", "mtf", "kernels", "published-kernels"]),
    help="How references are degraded.",
)
@click.option("--mtf-gain", type=float, default=0.3, show_default=True, help="MTF gain of --degradation mtf.")
@click.option(
    "--published",
    is_flag=True,
    help="Train a published network exactly as the code of its authors does, defects included.",
)
@click.option("--width", type=int, help="Number of features.  [default: 64]")
@click.option("--patch", type=int, help="Side of a patch, pixels of the references.")
@click.option("--batch", type=int, help="Patches per step.")
@click.option("--bands", type=int, default=0, help="Number of adjacent bands of a patch.  [default: all]")
@click.option(
    "--validation-side",
    type=int,
    default=128,
    show_default=True,
    help="Side of the central block of each validation scene, pixels; 0 for the whole scene.",
)
@click.option("--rate", type=float, help="Largest learning rate.")
@click.option("--schedule", type=click.Choice(["cosine", "halving"]), help="How the learning rate falls.")
@click.option("--halve-every", type=int, help="Steps between two halvings of --schedule halving.")
@click.option("--warmup", type=int, help="Steps in which the learning rate rises to its largest value.")
@click.option("--optimiser", type=click.Choice(["adam", "adamw"]), help="Optimiser.")
@click.option("--weight-decay", type=float, help="Weight decay of the optimiser.")
@click.option("--largest-gradient", type=float, help="Norm to which gradients are clipped.")
@click.option("--average", type=float, help="Decay of the moving average of the weights, e.g. 0.999.")
@click.option("--bf16/--float32", "bf16", default=None, help="Compute in bfloat16 where torch considers it safe.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the random numbers.")
@click.option("--validate-every", "validate_s", type=float, metavar="SECONDS", help="Time between validations.")
@click.option("--checkpoint-every", "checkpoint_s", type=float, metavar="SECONDS", help="Time between checkpoints.")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device of the networks.",
)
@click.option("-j", "--jobs", type=int, help="Number of threads of torch.")
@click.option("--licence", default="unknown", help="Licence of the weights, for their card.")
@click.option("--note", default="", help="Note for the card of the weights.")
@click.option("--resume", is_flag=True, help="Continue an interrupted training.")
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
    trust_references: bool,
    **chosen: Any,  # as click parsed them
) -> None:
    """Train a network on REFERENCES: scenes, folders of scenes, or the folders of PNGs of CAVE.

    With --rgb REFERENCES are scenes to sharpen, and the built-in network is finetuned to them in
    minutes; images of high resolution are not needed. The weights are written only if they improve
    held-out blocks of the scenes.

    Training on references writes its configuration, checkpoint and log to a folder next to the
    weights, OUTPUT's stem + `.training`. For several GPUs run
    `torchrun --no-python --nproc-per-node N dualsr-geo train ...`.

    \b
        dualsr-geo train scene.tif --rgb pan.tif -o mine.safetensors
        dualsr-geo train cave -o mine.safetensors --network coarsenet --scale 4 --minutes 60 \\
            --validate sponges --validate thread_spools
    """  # noqa: D301  # click looks for the character, which a raw string has not
    import torch  # noqa: PLC0415

    from dualsr_geo.io.readers.references.local import trusting  # noqa: PLC0415  # loads rasterio

    click.get_current_context().with_resource(trusting(trust_references))
    if chosen["minutes"] is not None and chosen["steps"] is not None:
        raise click.UsageError("--minutes and --steps both set the number of steps. Give one of them.")
    if jobs is not None:
        if not 1 <= jobs <= MAX_THREADS:
            raise click.UsageError(f"--jobs {jobs} is not within 1..{MAX_THREADS} threads. Give a number of cores.")
        torch.set_num_threads(jobs)
    if rgb:
        _require_finetuning_options(network, device)
        _finetune(references, rgb, output, chosen, overwrite=overwrite, quiet=quiet)
        return
    for name in ("bidx", "nodata"):
        if chosen[name] is not None:
            raise click.UsageError(f"--{name} is an option of --rgb, which is not given. Leave it out, or give --rgb.")
    if network is None:
        raise click.UsageError(
            "Give --network to train on references, or --rgb to finetune the built-in network to scenes."
        )
    from dualsr_geo.training.registry import TaskOptions  # noqa: PLC0415
    from dualsr_geo.training.train import TrainingRequest, train_network  # noqa: PLC0415

    config = {name: chosen[name] for name in CONFIG_OPTIONS if chosen[name] is not None}
    task_options = TaskOptions(**{name: chosen[name] for name in TASK_OPTIONS if chosen[name] is not None})
    others = {name: chosen[name] for name in ("minutes", "validate", "licence", "note", "begin")}
    request = TrainingRequest(network, task_options, config, **others)
    with _process_device(device) as process_device:
        quiet = quiet or os.environ.get("RANK", "0") != "0"
        progress = None if quiet else print_progress
        result = train_network(
            references, output, request, resume=resume, overwrite=overwrite, device=process_device, progress=progress
        )
    if not result.finished:
        print_progress(f"Stopped after step {result.step} of {result.config.steps}. Continue with --resume.")
        sys.exit(1)
    if not quiet:
        print_result(f"{output}: {result.config.network}, {result.step} steps, {result.seconds / 60:.1f} min")


def _require_finetuning_options(network: str | None, device: str) -> None:
    """Raise UsageError for an option that contradicts --rgb."""
    if network not in (None, "guided"):
        raise click.UsageError(
            f"--rgb finetunes the network `guided`, and --network is {network}, which is trained on references. "
            "Leave out one of the two."
        )
    if device == "cuda":
        raise click.UsageError(
            "--device cuda is for training on references; finetuning (--rgb) runs on the CPU. Leave it out."
        )
    context = click.get_current_context()
    for param in context.command.params:
        is_given = context.get_parameter_source(str(param.name)) is ParameterSource.COMMANDLINE
        if is_given and param.name not in (*FINETUNING_OPTIONS, *COMMON_OPTIONS):
            raise click.UsageError(
                f"{param.opts[0]} is for training on references, not for finetuning (--rgb). Leave it out."
            )


def _finetune(
    scenes: tuple[str, ...], rgb: tuple[str, ...], output: str, chosen: dict[str, Any], *, overwrite: bool, quiet: bool
) -> None:
    from dualsr_geo.training.finetuning.finetune import FinetuningRequest, finetune  # noqa: PLC0415

    request = FinetuningRequest(**{name: chosen[name] for name in FINETUNING_OPTIONS if chosen[name] is not None})
    progress = None if quiet else print_progress
    result = finetune(scenes, rgb, output, request, overwrite=overwrite, progress=progress)
    if not quiet:
        print_result(
            "\n".join([f"{output}: finetuned to {len(scenes)} scene{'s' * (len(scenes) > 1)}", *result.lines()])
        )


@contextmanager
def _process_device(device: str) -> Iterator[str]:
    """Join the processes of torchrun, if it started this one; yield the device of this process."""
    import torch  # noqa: PLC0415
    from torch import distributed  # noqa: PLC0415

    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if "LOCAL_RANK" not in os.environ:
        yield "cuda" if cuda else "cpu"
        return
    process_device = f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(process_device)
    # The gradients of 1 x 1 convolutions have other strides in memory, which costs a copy of them.
    warnings.filterwarnings("ignore", "Grad strides do not match", UserWarning)
    distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield process_device
    finally:
        distributed.destroy_process_group()
