#!/bin/sh
# All that waits for a GPU, in one command: gpu_day.py says what, and in which order.
#   benchmarks/gpu_day.sh [--minutes N] [--rehearse] [--out FOLDER]
# WHEELS=FOLDER installs the wheels in it first (gpu_day_requirements.txt); PYTHON names another Python.
python=${PYTHON:-python3}
if [ -n "${WHEELS:-}" ]; then
  "$python" -m pip install --quiet --no-index --no-deps --find-links "$WHEELS" "$WHEELS"/*.whl || exit
fi
exec "$python" "$(dirname "$0")/gpu_day.py" "$@"
