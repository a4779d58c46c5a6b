# SPDX-License-Identifier: Apache-2.0
"""Threads of the host beside the device."""

import sys

import pytest

from alphafold_jax.runs.fleet.beside import Lanes


def test_threads_take_turns_sooner_while_files_are_written_and_as_before_afterwards():
  before = sys.getswitchinterval()
  lanes = Lanes()
  assert sys.getswitchinterval() == pytest.approx(0.0005)
  lanes.close()
  assert sys.getswitchinterval() == pytest.approx(before)
