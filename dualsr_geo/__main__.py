"""`python -m dualsr_geo`: the command line where `dualsr-geo` is not on the path."""

from dualsr_geo.cli import main

main(prog_name="dualsr-geo")
