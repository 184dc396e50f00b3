"""The setting of the plugin: the environment of `dualsr-geo`."""

from __future__ import annotations

from pathlib import Path

from processing.core.ProcessingConfig import ProcessingConfig, Setting

from . import command
from .pages import icon

GROUP = "dualsr-geo"
PROGRAM = "DUALSR_GEO_PROGRAM"


def add() -> None:
    """Add the setting to the options of Processing."""
    ProcessingConfig.settingIcons[GROUP] = icon()
    hint = "Empty: searched on PATH and in conda environments"
    ProcessingConfig.addSetting(
        Setting(
            GROUP,
            PROGRAM,
            "Environment with dualsr-geo",
            "",
            valuetype=Setting.FOLDER,
            validator=_check,
            placeholder=hint,
        )
    )
    ProcessingConfig.readSettings()


def remove() -> None:
    """Remove the setting."""
    ProcessingConfig.removeSetting(PROGRAM)


def program() -> Path:
    """Return the command to call.

    Raises
    ------
    CommandError
        If it is not installed.
    """
    return command.find(ProcessingConfig.getSetting(PROGRAM) or "")


def _check(chosen: str) -> None:
    """Raise ValueError, which the options dialog shows, if a setting has no command."""
    if chosen:
        try:
            command.find(chosen)
        except command.CommandError as error:
            raise ValueError(str(error)) from error
