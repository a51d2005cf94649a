#!/bin/sh
# Compile our kernels for a GPU in the folder of their sources, where the image is for one.
set -eu
[ "$1" = gpu ] || exit 0
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends g++
/pip/bin/pip install --quiet --require-hashes --requirement requirements/cuda-kernels.txt
/pip/bin/python -m engine.kernels.cuda
