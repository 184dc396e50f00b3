"""The scene classification of a delivered product, kept next to its sharpened bands."""

from __future__ import annotations

from dualsr_geo.engine.plan import RunPlan
from dualsr_geo.errors import OutputError
from dualsr_geo.io.storage.locations import exists
from dualsr_geo.io.writers.classification import classification_path, write_classification
from dualsr_geo.io.writers.destination import Destination, destination_at
from dualsr_geo.io.writers.output_spec import OutputSpec


def classification_destination(plan: RunPlan, spec: OutputSpec) -> Destination | None:
    """Return where the classification of a run goes; None where the product has none."""
    if plan.classification is None:
        return None
    return destination_at(classification_path(spec.path), "COG", plan.options.work_dir)


def require_room_for_classification(plan: RunPlan, spec: OutputSpec) -> None:
    """Check that the classification replaces nothing.

    Raises
    ------
    OutputError
        If a file of its name exists and may not be replaced, or is an input.
    """
    destination = classification_destination(plan, spec)
    if destination is None or plan.classification is None:
        return
    destination.require_apart([plan.scene, plan.classification])
    destination.require_free(overwrite=plan.options.overwrite)


def keep_classification(plan: RunPlan, spec: OutputSpec, *, is_finished: bool) -> str | None:
    """Write the classification of a product that is in its place; return the path.

    Parameters
    ----------
    plan, spec
        Of the run.
    is_finished : bool
        Whether an earlier run made the product; a classification that exists is its own then.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    destination = classification_destination(plan, spec)
    if destination is None or plan.classification is None:
        return None
    if not (is_finished and exists(destination.path, OutputError)):
        write_classification(plan.classification, plan.target, destination)
    return destination.path
