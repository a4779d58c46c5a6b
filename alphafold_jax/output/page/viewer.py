# SPDX-License-Identifier: Apache-2.0
"""3Dmol.js, which shows structures (Rego & Koes 2015, BSD-3-Clause), as its authors publish it: build/3Dmol-min.js."""

import base64
import functools
import gzip
from importlib import resources

from alphafold_jax.output.page import markup

VIEWER = '3Dmol-min.js'  # also the name of the copy that many pages share
VERSION = '2.5.5'


@functools.cache
def code() -> str:
  """The script."""
  return gzip.decompress(_packed()).decode('utf-8')


@functools.cache
def packed() -> str:
  """The script compressed by gzip, as base64."""
  return base64.b64encode(_packed()).decode('ascii')


def licence() -> str:
  """Its licence, which goes wherever the script goes."""
  return markup.asset('3Dmol-LICENSE.txt')


def shared_file() -> str:
  """The script as a file that pages share, its licence first."""
  return f'/*\n{licence()}*/\n{code()}'


def _packed() -> bytes:
  return resources.files(__package__).joinpath(f'{VIEWER}.gz').read_bytes()
