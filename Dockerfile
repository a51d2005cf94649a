# The service, and the load tests, as images. Built with `docker build .`, podman or buildah:
#
#   docker build --tag cybersolve .                                        CPU
#   docker build --tag cybersolve:gpu --build-arg PROVIDER=gpu .           CUDA, from PyPI's wheels
#   docker build --tag cybersolve-loadtest --target loadtest .
#
# What goes in is fixed by requirements/*.txt with hashes, but for Debian's python3, whose security
# fixes are wanted: pin the rest with --build-arg BASE=debian:bookworm-slim@sha256:...
# `make image-test` builds this file and asks the result a question.
ARG BASE=debian:bookworm-slim

FROM ${BASE} AS python
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log

FROM python AS build
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

FROM build AS build-service
ARG PROVIDER=cpu
COPY requirements requirements
RUN case "${PROVIDER}" in cpu) lock=serve ;; gpu) lock=serve-gpu ;; *) exit 1 ;; esac \
    && /pip/bin/pip --python /opt/cybersolve/bin/python install --quiet --require-hashes \
        --requirement "requirements/${lock}.txt"
COPY pyproject.toml README.md LICENSE ./
COPY equations equations
COPY service service
RUN /pip/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /pip/bin/pip --python /opt/cybersolve/bin/python install --quiet --no-deps /wheels/*.whl

# Last, and so what a build without --target makes.
FROM python AS service
COPY --from=build-service /opt/cybersolve /opt/cybersolve
COPY LICENSE /opt/cybersolve/
COPY models/cybersolve-mini /opt/cybersolve/models/cybersolve-mini
# ONNX Runtime 1.32 keeps an identifier of the device and reports its use, unless told not to.
ENV CYBERSOLVE_HOST=0.0.0.0 \
    CYBERSOLVE_MODEL=/opt/cybersolve/models/cybersolve-mini \
    ORT_DISABLE_TELEMETRY=1 \
    PATH=/opt/cybersolve/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1
# By number, so that Kubernetes can tell that it is not root; nothing is ever written.
USER 65532:65532
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-P", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + (os.environ.get('CYBERSOLVE_METRICS_PORT') or os.environ.get('CYBERSOLVE_PORT', '8000')) + '/readyz', timeout=4)"]
ENTRYPOINT ["cybersolve"]
CMD ["serve"]
