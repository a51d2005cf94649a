# The service and its load tests as images. Built with `docker build .`, podman or buildah:
#
#   docker build --tag cybersolve .                                            CPU
#   docker build --tag cybersolve:gpu --build-arg PROVIDER=gpu .               CUDA, from PyPI's wheels
#   docker build --tag cybersolve:convert --build-arg PROVIDER=convert .       CPU, any checkpoint
#   docker build --tag cybersolve-loadtest --target loadtest .
#
# A CUDA image holds our kernels for a GPU, and the bundled model in fp16, because no GPU computes the
# int8 of the others. An image that converts serves checkpoints and models of the hub, too.
# requirements/*.txt fix the Python packages with their hashes, and the digest fixes Debian; its
# security fixes since then are installed over it. `make image-test` builds this file and asks the
# result a question.
ARG BASE=debian:bookworm-20260824-slim@sha256:88200866dfff7ea7f5cbcb6ec7c8a701889efe6fe859fe64d6990e4b07ea4171
ARG PROVIDER=cpu

FROM ${BASE} AS python
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get upgrade --yes \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log

FROM python AS build
# hadolint ignore=DL3008,DL3009
RUN apt-get update && apt-get install --yes --no-install-recommends \
    gcc libc6-dev python3-venv
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# pip stays here: the images get environments without it.
RUN python3 -m venv /pip && python3 -m venv --without-pip /opt/cybersolve
WORKDIR /source
COPY requirements/build.txt requirements/
RUN /pip/bin/pip install --quiet --require-hashes --requirement requirements/build.txt

FROM build AS build-loadtest
COPY requirements/loadtest.txt requirements/
RUN /pip/bin/pip --python /opt/cybersolve/bin/python install --quiet --require-hashes \
    --requirement requirements/loadtest.txt
COPY commandline /opt/cybersolve/app/commandline
COPY loadtest /opt/cybersolve/app/loadtest

FROM python AS loadtest
COPY --from=build-loadtest /opt/cybersolve /opt/cybersolve
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/opt/cybersolve/app
USER 65532:65532
WORKDIR /reports
ENTRYPOINT ["/opt/cybersolve/bin/python", "-P", "-m", "loadtest"]
CMD ["--help"]

FROM build AS model
COPY requirements/convert.txt requirements/
COPY engine engine
COPY equations equations
COPY model_export model_export
COPY deploy/image deploy/image
COPY models/cybersolve-mini /shipped
COPY models/cybersolve-mini-checkpoint /checkpoint
ARG PROVIDER
RUN sh deploy/image/model.sh "${PROVIDER}"

# CUDA C++, compiled for a GPU's image alone; elsewhere the sources stay what they are.
FROM build AS cuda-kernels
COPY requirements/cuda-kernels.txt requirements/
COPY engine/__init__.py engine/
COPY engine/kernels engine/kernels
COPY deploy/image/cuda_kernels.sh ./
ARG PROVIDER
RUN sh cuda_kernels.sh "${PROVIDER}"

FROM build AS build-service
ARG PROVIDER
COPY requirements requirements
RUN case "${PROVIDER}" in \
        cpu) lock=otel ;; gpu) lock=serve-gpu ;; convert) lock=convert ;; *) exit 1 ;; esac \
    && /pip/bin/pip --python /opt/cybersolve/bin/python install --quiet --require-hashes --no-deps \
        --requirement "requirements/${lock}.txt"
COPY pyproject.toml README.md LICENSE ./
COPY commandline commandline
COPY engine engine
COPY --from=cuda-kernels /source/engine/kernels/cuda engine/kernels/cuda
COPY equations equations
COPY model_export model_export
COPY service service
RUN /pip/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /pip/bin/pip --python /opt/cybersolve/bin/python install --quiet --no-deps /wheels/*.whl

# The bill of materials (CycloneDX) and the provenance (SLSA) of what the image below holds.
FROM python AS materials
ARG BASE
ARG PROVIDER
ARG REVISION=unknown
COPY --from=build-service /opt/cybersolve /opt/cybersolve
COPY --from=build-service /wheels /wheels
COPY --from=model /models /opt/cybersolve/models
COPY requirements /source/requirements
COPY deploy/image/materials.py /source/
RUN /opt/cybersolve/bin/python /source/materials.py --base "${BASE}" --provider "${PROVIDER}" \
    --revision "${REVISION}" --requirements /source/requirements --wheels /wheels \
    --models /opt/cybersolve/models --out /materials

# Last, and so what a build without --target makes.
FROM python AS service
ARG BASE
ARG REVISION=unknown
ARG VERSION=unreleased
LABEL org.opencontainers.image.title="cybersolve" \
    org.opencontainers.image.description="Solves equations written as text with a T5 model and verifies every answer exactly" \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.base.name="${BASE}"
COPY --from=build-service /opt/cybersolve /opt/cybersolve
COPY LICENSE /opt/cybersolve/
COPY --from=model /models /opt/cybersolve/models
COPY --from=materials /materials /opt/cybersolve/materials
# ONNX Runtime 1.32 keeps an identifier of the device and reports its use, unless told not to.
ENV CYBERSOLVE_HOST=0.0.0.0 \
    CYBERSOLVE_MODEL=/opt/cybersolve/models/cybersolve-mini \
    ORT_DISABLE_TELEMETRY=1 \
    PATH=/opt/cybersolve/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes can tell that it is not root; nothing is ever written.
USER 65532:65532
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
    CMD ["python", "-P", "-m", "service.health_check"]
ENTRYPOINT ["cybersolve"]
CMD ["serve"]
