# SPDX-License-Identifier: Apache-2.0
"""A toy of every exchange between four devices, compiled for a machine that need not be here.

python tests/data/elsewhere/exchanges.py v5e:2x2 tests/data/elsewhere/tpu.txt    with the extra tpu
python tests/data/elsewhere/exchanges.py h200:4 tests/data/elsewhere/cuda.txt    with the extra cuda12
python tests/data/elsewhere/exchanges.py cpu FILE                                with four simulated devices

The two files here were recorded with jax 0.10.2 and libtpu 0.0.42, jax-cuda12-pjrt 0.10.2.
"""

import os
import re
import sys
from pathlib import Path

NUM = 4
SHAPE = (64, 128)  # float32, of one device


def devices(name):
  if name == 'cpu':
    os.environ |= {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': f'--xla_force_host_platform_device_count={NUM}'}
    import jax

    return jax.devices(), 'cpu'
  from alphafold_jax.elsewhere import compilers, targets

  compilers.prepare()
  target = targets.parse(name)
  return compilers.devices_of(target, NUM), target.platform


def program(found, platform):
  import jax
  import jax.numpy as jnp
  import numpy as np
  from jax.sharding import Mesh, NamedSharding
  from jax.sharding import PartitionSpec as P

  def exchanges(x):  # [64, 128]
    def body(carried, _):
      whole = jax.lax.all_gather(carried, 'd', axis=0, tiled=True)
      other = jax.lax.all_to_all(whole, 'd', split_axis=1, concat_axis=0, tiled=True)
      return carried + 1e-3 * jnp.sum(other), None

    x, _ = jax.lax.scan(body, x, None, length=5)
    x = jax.lax.ppermute(x, 'd', [(i, (i + 1) % NUM) for i in range(NUM)])
    part = jax.lax.psum_scatter(jnp.sin(x), 'd', scatter_dimension=0, tiled=True)
    total = jax.lax.psum(jnp.cos(x), 'd')
    return x, part, jax.lax.while_loop(lambda y: jnp.sum(y) < 3, lambda y: jax.lax.psum(1.5 * y, 'd'), total)

  mesh = Mesh(np.array(found), ('d',))
  mapped = jax.shard_map(exchanges, mesh=mesh, in_specs=P('d'), out_specs=(P('d'), P('d'), P()), check_vma=False)
  given = jax.ShapeDtypeStruct((NUM * SHAPE[0], SHAPE[1]), jnp.float32, sharding=NamedSharding(mesh, P('d')))
  return jax.jit(mapped).trace(given).lower(lowering_platforms=(platform,)).compile().as_text()


def shortened(text):
  """A program without what is not read: where operations come from, and how they are made."""
  text = text[: text.index('\n\n')] + '\n\n' + text[re.search(r'^%|^ENTRY', text, re.MULTILINE).start() :]
  text = re.sub(r', (metadata|frontend_attributes)=\{[^}]*\}', '', text)
  return re.sub(r', backend_config=\{(?!"known_trip_count|.*known_trip).*', '', text)


if __name__ == '__main__':
  Path(sys.argv[2]).write_text(shortened(program(*devices(sys.argv[1]))), encoding='utf-8')
