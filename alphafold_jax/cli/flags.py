# SPDX-License-Identifier: Apache-2.0
"""Kinds of values that flags take."""

import ast
from typing import Any

PROGRAM = 'alphafold-jax'
SWITCH = {'action': 'store_true'}


def pair(text: str) -> tuple[int, int]:
  clusters, _, extra = text.partition(':')
  return int(clusters), int(extra)


def numbers(text: str) -> tuple[int, ...]:
  return tuple(int(part) for part in text.split(','))


def shard(text: str) -> tuple[int, int]:
  number, _, count = text.partition('/')
  return int(number), int(count)


def words(text: str) -> list[str]:
  return [part.strip() for part in text.split(',') if part.strip()]


def change(text: str) -> tuple[str, Any]:
  key, equals, value = text.partition('=')
  if not (key and equals):
    raise ValueError
  try:
    return key, ast.literal_eval(value)
  except (ValueError, SyntaxError):
    return key, value


pair.__name__, numbers.__name__, change.__name__ = 'A:B', 'list of numbers', 'KEY=VALUE'  # for messages
shard.__name__ = 'I/N, such as 3/16,'
