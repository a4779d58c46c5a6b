# SPDX-License-Identifier: Apache-2.0
"""What predictions are ranked by: one score is one row."""

from collections.abc import Callable, Mapping
from typing import Any

RANKINGS: Mapping[str, Callable[[Any], float]] = {  # name of `--rank` -> score of a prediction or confidence, 0 to 100
  'plddt': lambda scored: scored.mean_plddt,
  'ptm': lambda scored: 100 * scored.ptm,
}
