"""Shell completion as docs/reference/cli.md describes it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
PROGRAM = [sys.executable, "-c", "from dualsr_geo.cli import main; main(prog_name='dualsr-geo')"]


def complete(instruction, words="", position=0):
    """Return what the program prints for the completion of a shell."""
    variable, shell = instruction.split("=")
    env = {**os.environ, variable: shell, "COMP_WORDS": words, "COMP_CWORD": str(position)}
    result = subprocess.run(PROGRAM, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_lines_of_the_page_print_a_script(shell):
    (instruction,) = re.findall(rf"(_\w+={shell}_source) dualsr-geo", PAGE.read_text())
    assert "dualsr-geo" in complete(instruction)


@pytest.mark.parametrize(
    ("words", "position", "expected"),
    [
        ("dualsr-geo ups", 1, {"upscale"}),
        ("dualsr-geo upscale --cor", 2, {"--coregister"}),
        ("dualsr-geo upscale --coregister lo", 3, {"local"}),
        ("dualsr-geo models sh", 2, {"show"}),
        ("dualsr-geo upscale scene.tif -of GTiff --dt", 5, {"--dtype"}),
        ("dualsr-geo upscale scene.tif extra.tif --dt", 4, {"--dtype"}),
    ],
)
def test_commands_options_and_values_are_completed(words, position, expected):
    assert "_DUALSR_GEO_COMPLETE=bash_source dualsr-geo" in PAGE.read_text()
    lines = complete("_DUALSR_GEO_COMPLETE=bash_complete", words, position).splitlines()
    assert {line.partition(",")[2] for line in lines} == expected
