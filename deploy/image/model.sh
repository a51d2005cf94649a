#!/bin/sh
# Put the bundled model at /models in the precision that the provider of the image computes: the
# shipped int8 bundle for a CPU, and its checkpoint in fp16 for a GPU.
set -eu
case "$1" in
    cpu)
        mkdir /models
        cp -r /shipped /models/cybersolve-mini
        ;;
    gpu)
        /pip/bin/pip --python /opt/cybersolve/bin/python install --quiet \
            --requirement requirements/export.txt
        export PYTHONPATH=. PATH="/opt/cybersolve/bin:$PATH"
        python -m model_export export /checkpoint --out /models/cybersolve-mini --precision fp16 \
            --questions deploy/image/questions.txt
        # The model is the same, and so is how sure it is.
        python -c 'import json; print(json.load(open("/shipped/manifest.json"))["calibration"])' \
            > /calibration.json
        python -m model_export describe /models/cybersolve-mini --calibration /calibration.json
        ;;
    *)
        echo "PROVIDER is $1; expected cpu or gpu" >&2
        exit 1
        ;;
esac
