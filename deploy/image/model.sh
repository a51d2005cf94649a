#!/bin/sh
# Put the bundled model at /models in the precision that the hardware of the image computes: the
# shipped int8 bundle for a CPU, and its checkpoint in fp16 for a GPU.
set -eu
case "$1" in
    cpu | convert)
        mkdir /models
        cp -r /shipped /models/cybersolve-mini
        ;;
    gpu)
        /pip/bin/pip --python /opt/cybersolve/bin/python install --quiet --require-hashes --no-deps \
            --requirement requirements/convert.txt
        PYTHONPATH=. /opt/cybersolve/bin/python deploy/image/half.py \
            /shipped /checkpoint /models/cybersolve-mini
        ;;
    *)
        echo "PROVIDER is $1; expected cpu, gpu or convert" >&2
        exit 1
        ;;
esac
