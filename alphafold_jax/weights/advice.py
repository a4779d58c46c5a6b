# SPDX-License-Identifier: Apache-2.0
"""What a person can do when a transfer of parameters fails."""

import contextlib
from collections.abc import Iterator

from alphafold_jax.errors import ResourceError, TransferError, WeightsError

_PLACE = 'Another place is chosen by --data DIR or the variable ALPHAFOLD_JAX_PARAMS.'
_OFFLINE = (
  'A machine without internet access can use a file fetched elsewhere: `alphafold-jax params download --from FILE`.'
)


@contextlib.contextmanager
def explained() -> Iterator[None]:
  """Turns a failed transfer inside the block into an error that says what to do about parameters."""
  try:
    yield
  except TransferError as error:
    raise WeightsError(f'{error} {_PLACE} {_OFFLINE}') from error
  except ResourceError as error:
    raise ResourceError(f'{error} {_PLACE}') from error
