#!/bin/sh
# Everything that is to be measured on a machine with a CUDA card, in less than 8 minutes; nothing is installed or fetched.
#
#     sh examples/benchmark/gpu.sh                      # the card
#     sh examples/benchmark/gpu.sh --device cpu --tiny  # a test of the script itself
#
# It ends with status 1 if a product of the card differs from that of the CPU by more than the stated tolerance.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$here/../..${PYTHONPATH:+:$PYTHONPATH}" exec "${PYTHON:-python}" "$here/gpu.py" "$@"
