# SPDX-License-Identifier: Apache-2.0
"""Values in texts that people, servers and killed processes wrote; nothing in a text leads to another kind of error."""

import json
import re
from typing import Any

_WHOLE = re.compile('[0-9]{1,18}')  # str.isdigit also takes '²', and int refuses that and more than 4,300 digits


def from_json(text: str | bytes) -> Any:
  """The value of a JSON text; ValueError if it is none, or is nested too deeply to be read."""
  try:
    return json.loads(text)
  except RecursionError:  # a few kilobytes of '[' are enough
    raise ValueError('nested too deeply') from None


def whole_number(text: str | None) -> int | None:
  """The number in a text of 1 to 18 ASCII digits; None for any other."""
  return int(text) if text and _WHOLE.fullmatch(text) else None
