"""The command of a training, as the card of its weights records it."""

from __future__ import annotations

import sys
from pathlib import Path

from dualsr_geo.redaction import redact


def command_line() -> str:
    """Return the command that this process runs, without the secrets of its URLs: weights are passed on."""
    return redact(" ".join([Path(sys.argv[0]).name, *sys.argv[1:]]))
