# SPDX-License-Identifier: Apache-2.0
"""Where the time of one pass goes: every part of the network at its real sizes, beside the whole pass.

  python benchmarks/parts.py                              # 128 and 256 residues; rewrites docs/benchmarks.md
  python benchmarks/parts.py --num-res 64 --num-block 2   # a quick look
  python benchmarks/parts.py --dtype bfloat16 --json      # the trunk in another dtype

An operation is timed in a stack of four of itself, the fastest of a few runs, and counted as often as the pass has it;
what lies between the operations is the remainder, which noise may make negative. The share of the machine's rate is of
its own in a large matrix product, with the multiplications that flops.py counts. (It is not called profile.py, since
that would hide a module of Python's.)
"""

import argparse
import functools
import json
import sys
import time
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import flops
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import predict_vs_alphafold
import turns

from alphafold_jax import confidence, ops, schema
from alphafold_jax import config as configs
from alphafold_jax.data import alignment, features
from alphafold_jax.model import alphafold, embedders, msa, pair, sampling, structure
from alphafold_jax.model.alphafold import AlphaFoldSpec, make_spec
from alphafold_jax.model.evoformer import COLUMN_ATTENTION, EvoformerSpec
from alphafold_jax.model.heads import Heads
from alphafold_jax.model.layers import Linear, Transition

_MODEL = 'model_5_ptm'
_STACK = 4
_EXTRA = 'extra MSA: '


class Part(NamedTuple):
  """A part of the pass."""

  name: str
  count: int  # how often the pass has it
  flops: int | None  # of one; None: not counted
  function: Callable  # a Haiku function
  arguments: tuple
  stacked: int = 1  # how many of it the function holds


def parts(spec: AlphaFoldSpec, case: turns.Case) -> Iterator[Part]:
  """All parts in the order of the pass."""
  num_res, rng = case.num_res, np.random.default_rng(0)

  def normal(*shape):
    return jnp.asarray(rng.normal(size=shape), spec.dtype)

  e, key = spec.embedder, jax.random.key(0)
  z, pair_mask = normal(num_res, num_res, e.c_z), jnp.ones((num_res, num_res))
  batch = jax.tree.map(jnp.asarray, _batch(case, rng))
  previous = alphafold.network(spec).initial(num_res)
  yield Part(
    'sampling, input and recycling embedders', 1, None, functools.partial(_embedding, spec), (key, batch, previous)
  )
  of_pair = flops.pair_flops(num_res)
  for prefix, stack, depth, channels in (
    (_EXTRA, spec.extra_msa, case.num_extra, e.c_extra),
    ('', spec.evoformer, case.num_msa, e.c_m),
  ):
    m, mask = normal(depth, num_res, channels), jnp.ones((depth, num_res))
    of_msa = flops.msa_flops(num_res, depth, is_extra=bool(prefix))
    for name, update in _msa_updates(stack).items():
      yield Part(
        prefix + _words(name), stack.num_block, of_msa[name], _stacked(update, spec), (m, z, mask, pair_mask), _STACK
      )
  both = spec.evoformer.num_block + spec.extra_msa.num_block
  for name, update in _pair_updates(spec.evoformer.pair).items():
    yield Part(_words(name), both, of_pair[name], _stacked(update, spec), (normal(1), z, None, pair_mask), _STACK)
  single, z = normal(num_res, spec.c_s).astype(jnp.float32), z.astype(jnp.float32)
  yield Part('structure module', 1, None, functools.partial(_structure, spec), (single, z, batch))
  representations = schema.Representations(
    msa=normal(case.num_msa, num_res, e.c_m), single=single, pair=z, structure_module=single
  )
  yield Part(
    'heads, confidence',
    1,
    None,
    functools.partial(_heads, spec),
    (representations, previous.atom_positions, batch.seq_mask),
  )


def _words(name: str) -> str:
  return {
    'multiplication_outgoing': 'triangle multiplication, outgoing',
    'multiplication_incoming': 'triangle multiplication, incoming',
    'attention_starting': 'triangle attention, starting',
    'attention_ending': 'triangle attention, ending',
  }.get(name, name.replace('_', ' '))


def _msa_updates(s: EvoformerSpec) -> dict[str, Callable]:
  """One block's updates of the MSA: (m, z, MSA mask, pair mask) -> (m, z)."""
  return {
    'row_attention': lambda m, z, mask, _: (msa.MSARowAttentionWithPairBias(s.num_head)(m, z, mask), z),
    'column_attention': lambda m, z, mask, _: (COLUMN_ATTENTION[s.column_attention](s.num_head)(m, mask), z),
    'transition': lambda m, z, mask, _: (Transition(s.transition_factor)(m), z),
    'outer_product_mean': lambda m, z, mask, _: (m, msa.OuterProductMean(s.c_outer)(z, m, mask)),
  }


def _pair_updates(s: pair.PairSpec) -> dict[str, Callable]:
  """One block's updates of the pairs."""

  def triangle(name):
    return lambda m, z, _, mask: (m, pair.PAIR_UPDATES[name][0](s, name)(z, mask))

  return {name: triangle(name) for name in s.order} | {
    'pair_transition': lambda m, z, _, mask: (m, Transition(s.transition_factor)(z))
  }


def _stacked(update: Callable, spec: AlphaFoldSpec) -> Callable:
  def run(m, z, msa_mask, pair_mask):
    with alphafold.in_dtype(jnp.dtype(spec.dtype)):
      return hk.experimental.layer_stack(_STACK)(lambda m, z: update(m, z, msa_mask, pair_mask))(m, z)

  return run


def _embedding(spec: AlphaFoldSpec, key: jax.Array, batch: schema.Batch, previous: schema.Recycled) -> Any:
  sample, dtype = sampling.sample_msa(key, batch.msa, spec.sampling), jnp.dtype(spec.dtype)
  target_feat, msa_feat, extra_feat = (feat.astype(dtype) for feat in embedders.features(batch, sample))
  with alphafold.in_dtype(dtype):
    m, z = embedders.InputEmbedder(spec.embedder, name='input_embedder')(target_feat, msa_feat, batch)
    first_row, update = embedders.RecyclingEmbedder(spec.embedder, name='recycling_embedder')(batch.aatype, previous)
    extra = Linear(spec.embedder.c_extra, name='extra_msa_embedder')(extra_feat)
  return m.at[0].add(first_row.astype(dtype)), z + update.astype(dtype), extra


def _structure(spec: AlphaFoldSpec, single: jax.Array, z: jax.Array, batch: schema.Batch) -> Any:
  with jax.default_matmul_precision('float32'):
    return structure.StructureModule(spec.structure, name='structure_module')(single, z, batch.aatype, batch.seq_mask)


def _heads(spec: AlphaFoldSpec, representations: schema.Representations, positions: jax.Array, mask: jax.Array) -> Any:
  outputs = types.SimpleNamespace(
    logits=Heads(spec.heads, name='heads')(representations), structure=types.SimpleNamespace(atom_positions=positions)
  )
  return confidence.summarise(outputs, mask)


def _batch(case: turns.Case, rng: np.random.Generator) -> schema.Batch:
  """Random rows, as many as are drawn."""
  rows = rng.choice(list('ACDEFGHIKLMNPQRSTVWY'), (case.num_msa + case.num_extra, case.num_res))
  text = ''.join(f'>{index}\n{"".join(row)}\n' for index, row in enumerate(rows))
  return features.make_batch(alignment.parse_a3m(text, 'random rows'), num_templates=0)


# --- Measuring ---


def seconds(part: Part, kernels: ops.Kernels, repeats: int) -> float:
  """Seconds and bytes of one call of a part."""

  def run(*arguments):
    with ops.use_kernels(kernels):
      return part.function(*arguments)

  function, key = hk.transform(run), jax.random.key(0)
  params = jax.jit(function.init)(key, *part.arguments)
  compiled = jax.jit(function.apply)
  jax.block_until_ready(compiled(params, key, *part.arguments))
  taken = []
  for _ in range(repeats):
    start = time.perf_counter()
    jax.block_until_ready(compiled(params, key, *part.arguments))
    taken.append(time.perf_counter() - start)
  return min(taken) / part.stacked


def measure(case: predict_vs_alphafold.Case, repeats: int) -> dict:
  """All parts and the whole pass at one size."""
  extra_blocks = min(case.num_block, 4)
  spec = make_spec(
    configs.changed(
      configs.model_config(_MODEL),
      {
        'evoformer.num_block': case.num_block,
        'extra_msa.num_block': extra_blocks,
        'sampling.num_msa': case.num_msa,
        'sampling.num_extra': case.num_extra,
        'sampling.masked_fraction': 0.0,
        'dtype': case.dtype,
      },
    )
  )
  rates, rows = flops.rates(), []
  for part in parts(spec, case):
    one = seconds(part, spec.kernels, repeats)
    rows.append({'part': part.name, 'count': part.count, 'seconds': one, 'flops': part.flops})
    print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
  whole = turns.measure(predict_vs_alphafold.SIDES['ours'](case), repeats)['seconds']
  again = flops.rates()  # other programs may have disturbed the first
  rates = {dtype: max(rate, again[dtype]) for dtype, rate in rates.items()}
  rate = rates[case.dtype]
  count = flops.pass_flops(case.num_res, case.num_msa, case.num_extra, case.num_block, extra_blocks)
  return {**case.__dict__, 'rates': rates, 'rate': rate, 'parts': rows, 'seconds': whole, 'share': count / whole / rate}


def table(results: list[Mapping[str, Any]], command: str) -> str:
  """The results in Markdown."""
  first = results[0]
  lines = [
    f'One pass of {_MODEL}, {first["num_block"]} blocks, {first["num_msa"]} clustered and {first["num_extra"]} '
    f'extra alignment rows, {first["dtype"]}. {turns.machine()}; {turns.versions()}. Command: `{command}`'
  ]
  for result in results:
    whole = result['seconds']
    lines += [
      '',
      f'{result["num_res"]} residues; {flops.describe(result["rates"])}.',
      '',
      '| part | times | ms each | s of the pass | of the pass | of the matrix-product rate |',
      '|:--|--:|--:|--:|--:|--:|',
    ]
    for row in result['parts']:
      taken = row['count'] * row['seconds']
      share = f'{row["flops"] / row["seconds"] / result["rate"]:.0%}' if row['flops'] else ''
      lines.append(
        f'| {row["part"]} | {row["count"]} | {1e3 * row["seconds"]:.1f} | {taken:.2f} | {taken / whole:.0%} | {share} |'
      )
    rest = whole - sum(row['count'] * row['seconds'] for row in result['parts'])
    lines += [
      f'| between them | | | {rest:.2f} | {rest / whole:.0%} | |',
      f'| **whole pass** | | | **{whole:.2f}** | | **{result["share"]:.0%}** |',
    ]
  return '\n'.join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--num-res', type=int, nargs='+', default=(128, 256), help='residues (default: 128 256)')
  parser.add_argument('--num-msa', type=int, default=128, help='clustered alignment rows (default: %(default)s)')
  parser.add_argument('--num-extra', type=int, default=1024, help='extra alignment rows (default: %(default)s)')
  parser.add_argument('--num-block', type=int, default=48, help='Evoformer blocks (fewer for a quick look)')
  parser.add_argument('--dtype', choices=('float32', 'bfloat16'), default='float32', help='default: %(default)s')
  parser.add_argument('--repeats', type=int, default=3, help='timed runs (default: %(default)s)')
  parser.add_argument('--json', action='store_true', help='print one JSON object per size, and write no table')
  given = parser.parse_args()
  results = [
    measure(
      predict_vs_alphafold.Case(num_res, given.num_msa, given.num_extra, given.num_block, given.dtype), given.repeats
    )
    for num_res in given.num_res
  ]
  if given.json:
    print('\n'.join(map(json.dumps, results)))
    return
  text = table(results, ' '.join(['python', 'benchmarks/parts.py', *sys.argv[1:]]))
  print(text)
  if given.num_block == 48:
    turns.write_section('profile' + ('' if given.dtype == 'float32' else f'_{given.dtype}'), text)


if __name__ == '__main__':
  main()
