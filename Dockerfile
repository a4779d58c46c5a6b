# syntax=docker/dockerfile:1
#
# GPU:  docker build -t alphafold-jax .
# CPU:  docker build -t alphafold-jax --build-arg BASE_IMAGE=python:3.12-slim --build-arg JAX_EXTRA= .
#
# Run (parameters and compiled programs stay in the volume):
#   docker run --rm --gpus all -v alphafold-jax:/cache -v "$PWD:/work" alphafold-jax params download
#   docker run --rm --gpus all -v alphafold-jax:/cache -v "$PWD:/work" alphafold-jax predict proteins.fasta out
# Add `--user "$(id -u):$(id -g)"` and a directory of yours at /cache to own the files that are written.

# JAX brings CUDA's libraries as wheels, so the base needs no more than what meets the driver.
ARG BASE_IMAGE=nvidia/cuda:13.0.1-base-ubuntu24.04
FROM ${BASE_IMAGE}

# An extra of setup.py: cuda13, cuda12, tpu, or nothing for a CPU.
ARG JAX_EXTRA=cuda13

# Bases with a Python of their own (python:3.12-slim) keep it.
RUN command -v python3 >/dev/null && python3 -c 'import ensurepip' \
    || (apt-get update \
        && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*)

RUN python3 -m venv /opt/alphafold_jax
ENV PATH=/opt/alphafold_jax/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1

# The dependencies: gigabytes, in a layer that a change to the program's own files leaves alone.
WORKDIR /opt/src
COPY setup.py pyproject.toml LICENSE ./
COPY alphafold_jax/version.py alphafold_jax/version.py
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install ".[search${JAX_EXTRA:+,${JAX_EXTRA}}]"

# The program.
COPY README.md ./
COPY alphafold_jax alphafold_jax
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --force-reinstall .

# One volume for parameters and compiled programs, writable for whoever runs the container.
RUN useradd --create-home --uid 10001 alphafold \
    && mkdir --parents /cache /work \
    && chown alphafold /cache /work \
    && chmod 1777 /cache
ENV XDG_CACHE_HOME=/cache \
    MPLCONFIGDIR=/tmp/matplotlib
VOLUME /cache
USER alphafold
WORKDIR /work

ENTRYPOINT ["alphafold-jax"]
CMD ["--help"]
