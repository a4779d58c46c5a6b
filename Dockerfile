# syntax=docker/dockerfile:1
#
# GPU:  docker build -t alphafold-jax .
# CPU:  docker build -t alphafold-jax --build-arg BASE_IMAGE=python:3.12-slim --build-arg JAX_EXTRA= .
#
# Run it as yourself, in the folder of your data; ./cache keeps parameters, searches and compiled programs:
#   mkdir -p cache
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD/cache:/cache" -v "$PWD:/work" alphafold-jax params download
#   docker run --rm --gpus all --user "$(id -u):$(id -g)" -v "$PWD/cache:/cache" -v "$PWD:/work" alphafold-jax predict proteins.fasta out --msa-mode server
# Without a GPU leave out `--gpus all`. docs/containers.md has more, and a definition for Apptainer.

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

# Whoever runs the container, known to it or not (--user), may write here: one volume for parameters, searches and compiled
# programs, and a home for what packages put there. Sticky, so that nobody removes what is somebody else's.
RUN mkdir --parents --mode=1777 /cache /home/anyone /work
RUN useradd --no-create-home --home-dir /home/anyone --uid 10001 alphafold
ENV HOME=/home/anyone \
    USER=alphafold \
    XDG_CACHE_HOME=/cache \
    MPLCONFIGDIR=/home/anyone/matplotlib
VOLUME /cache
USER alphafold
WORKDIR /work

ENTRYPOINT ["alphafold-jax"]
CMD ["--help"]
