# SPDX-License-Identifier: Apache-2.0
"""One pass of this package beside DeepMind's network as packaged in alphafold-colabfold, at its best settings.

  python benchmarks/predict_vs_alphafold.py                      # 64, 128, 256 residues; rewrites docs/benchmarks.md
  python benchmarks/predict_vs_alphafold.py --num-res 128 --json # one JSON object, nothing rewritten
  python benchmarks/predict_vs_alphafold.py --dtype bfloat16     # ours in bfloat16
  python benchmarks/predict_vs_alphafold.py --complex --num-res 128 256   # two chains of 64, and of 128 residues
  python benchmarks/predict_vs_alphafold.py --dtype bfloat16 --num-res 384 1024 2048 --num-msa 512 --num-extra 5120
                                                                 # an NVIDIA GPU at the published depths

Both sides get the same random weights and the same alignment rows, and each measurement has a process of its own; the
processes take turns, since machines drift. The peer runs with fused projections. On CPUs it computes in float32, with
its `subbatch_size` of 4 and none, and beside our bfloat16 in bfloat16 as well; on GPUs in bfloat16, with its own
kernels and without. It is the fastest one that is compared.
"""

import argparse
import dataclasses
import functools
import os

import peer
import turns

_MODEL, _MODEL_OF_COMPLEXES = 'model_5_ptm', 'model_1_multimer_v3'


@dataclasses.dataclass(frozen=True)
class Case(turns.Case):
  """Sizes of what is computed, and in what."""

  dtype: str = 'float32'  # of the trunk
  model: str = _MODEL

  @property
  def is_complex(self) -> bool:
    """Whether two chains are computed, each of half of the residues."""
    return self.model == _MODEL_OF_COMPLEXES


# --- One side, in its own process ---


def _inputs(case: Case):
  """Our configuration, official arrays, and a batch whose rows are drawn in the same order every time."""
  from alphafold_jax.data import features
  from alphafold_jax.weights import random

  inputs = peer.random_inputs()
  config = inputs.our_configuration(
    case.model,
    case.num_block,
    sampling__num_msa=case.num_msa,
    sampling__num_extra=case.num_extra,
    sampling__masked_fraction=0.0,
  )
  chains = [('A', case.num_res // 2), ('B', case.num_res - case.num_res // 2)] if case.is_complex else []
  depth, num_slots = case.num_msa + case.num_extra, int(case.is_complex)  # of templates; complexes see an empty one
  batch = inputs.random_batch(case.num_res, depth, num_templates=0, chains=chains)
  if num_slots:
    batch = dataclasses.replace(batch, templates=features.empty_templates(num_slots, case.num_res))
  return config, random.random_official(config), batch


def _ours(case: Case) -> turns.Program:
  """This package, with the kernels that it chooses."""
  import jax
  import jax.numpy as jnp

  from alphafold_jax import config as configs
  from alphafold_jax import programs, tuning
  from alphafold_jax.model import alphafold
  from alphafold_jax.weights import official

  config, arrays, batch = _inputs(case)
  config = configs.changed(config, {'dtype': case.dtype, 'kernels.implementation': tuning.preferred()})
  params = jax.tree.map(jnp.asarray, official.from_official(arrays, config))
  batch = jax.tree.map(jnp.asarray, batch)
  compiled = programs.compiled(alphafold.make_spec(config), False, has_chains=case.is_complex)

  def arguments(_):  # what is recycled is given away, so each pass needs its own
    return params, jax.random.key(1), batch, *compiled.begin(params, programs.PassKey.of(0, 0), batch)

  return turns.Program(compiled.one_pass, arguments, lambda result: float(result.confidence.mean_plddt))


def _peer(case: Case, subbatch_size: int | None, dtype: str = '', kernels: bool = False) -> turns.Program:
  """The peer, in the dtype of the case or another, and whether with its kernels for NVIDIA GPUs."""
  import haiku as hk
  import jax
  from alphafold.model import config as peer_config
  from alphafold.model import modules

  from alphafold_jax import confidence
  from alphafold_jax.model import alphafold

  config, arrays, batch = _inputs(case)
  oracle = peer.oracle()
  theirs = peer_config.model_config(case.model)  # its projections are fused by default
  theirs.update_from_flattened_dict(
    {
      'model.global_config.bfloat16': (dtype or case.dtype) == 'bfloat16',
      'model.global_config.subbatch_size': subbatch_size,
      'model.global_config.use_pallas': kernels,
      'model.embeddings_and_evoformer.evoformer_num_block': case.num_block,
      'model.embeddings_and_evoformer.extra_msa_stack_num_block': config.extra_msa.num_block,
    }
  )
  previous = alphafold.network(alphafold.make_spec(config)).initial(case.num_res)
  if case.is_complex:
    return _peer_of_complexes(theirs, arrays, batch, previous, case)
  features = oracle.make_features(batch, case.num_msa, case.num_extra) | oracle.recycled(previous)

  def one_pass(features):
    return modules.AlphaFoldIteration_noE(theirs.model, theirs.model.global_config)(features, is_training=False)

  arguments = (oracle.pass_params(peer.fused(arrays)), jax.random.PRNGKey(0), jax.device_put(features))
  return turns.Program(
    jax.jit(hk.transform(one_pass).apply),
    lambda _: arguments,
    lambda result: float(confidence.plddt(result['predicted_lddt']['logits']).mean()),
  )


def _peer_of_complexes(theirs, arrays, batch, previous, case: Case) -> turns.Program:
  """The peer's network of complexes, which draws and clusters the rows within the pass, as it always does."""
  import haiku as hk
  import jax
  from alphafold.model import modules_multimer

  from alphafold_jax import confidence

  oracle, of_complexes = peer.oracle(), peer.oracle_of_complexes()
  rows = {'num_msa': case.num_msa, 'num_extra_msa': case.num_extra, 'masked_msa.replace_fraction': 0.0}
  theirs.update_from_flattened_dict({f'model.embeddings_and_evoformer.{key}': value for key, value in rows.items()})
  theirs.model.calc_extended_ptm = True
  features = of_complexes.make_features(batch) | {'prev': oracle.recycled(previous)}

  def one_pass(features):
    return modules_multimer.AlphaFold(theirs.model)(dict(features), is_training=False)

  arguments = (oracle.haiku_params(arrays, ''), jax.random.PRNGKey(0), jax.device_put(features))
  return turns.Program(
    jax.jit(hk.transform(one_pass).apply),
    lambda _: arguments,
    lambda result: float(confidence.plddt(result['predicted_lddt']['logits']).mean()),
  )


SIDES = {
  'ours': _ours,
  'peer, subbatch_size 4': functools.partial(_peer, subbatch_size=4),
  'peer, no subbatches': functools.partial(_peer, subbatch_size=None),
  'peer in float32, subbatch_size 4': functools.partial(_peer, subbatch_size=4, dtype='float32'),
  'peer in float32, no subbatches': functools.partial(_peer, subbatch_size=None, dtype='float32'),
  'peer, its kernels': functools.partial(_peer, subbatch_size=4, kernels=True),
}


def compared(dtype: str, on_cpu: bool) -> tuple[str, ...]:
  """The sides that are measured for our dtype."""
  if dtype == 'float32':
    return 'ours', 'peer, subbatch_size 4', 'peer, no subbatches'
  if not on_cpu:
    return 'ours', 'peer, subbatch_size 4', 'peer, its kernels'
  in_float32 = ('peer in float32, subbatch_size 4', 'peer in float32, no subbatches')
  return 'ours', 'peer, subbatch_size 4', *in_float32


# --- Both sides ---


def compare(case: Case, repeats: int, passes: int) -> dict:
  """Measures all sides; ours is compared with the fastest of the peer's."""
  import flops
  import jax

  on_cpu = jax.default_backend() == 'cpu'
  sides = turns.compare(__file__, compared(case.dtype, on_cpu), case, repeats, passes)
  fastest = min((side for side in sides if side != 'ours'), key=lambda side: sides[side]['seconds'])
  rates = flops.rates()  # of a large matrix product here; then the shares that both reach of that in ours' dtype
  rate = rates[case.dtype]
  count = flops.pass_flops(case.num_res, case.num_msa, case.num_extra, case.num_block, min(case.num_block, 4))
  share, peer_share = (round(count / sides[side]['seconds'] / rate, 3) for side in ('ours', fastest))
  return {
    **turns.ratios(sides['ours'], sides[fastest]),
    **dataclasses.asdict(case),
    'repeats': repeats,
    'passes': passes,
    'fastest_peer': fastest,
    'sides': sides,
    'on_cpu': on_cpu,
    'rates': rates,
    'matmul_rate': rate,
    'matmul_share': share,
    'peer_matmul_share': peer_share,
  }


def _of(result: dict) -> str:
  """What is computed, for the table."""
  model = result.get('model', _MODEL)
  return f'{model}, two chains of half of the residues each' if model == _MODEL_OF_COMPLEXES else model


def table(results: list[dict], command: str) -> str:
  """The results in Markdown."""
  import flops

  first = results[0]
  fastest = {dtype: max(result['rates'][dtype] for result in results) for dtype in first['rates']}
  lines = [
    f'One pass of {_of(first)}, {first["num_block"]} blocks, {first["num_msa"]} clustered and {first["num_extra"]} '
    f'extra alignment rows, {first["dtype"]}, random weights.',
    turns.conditions(first['repeats'], first['passes'], command) + f'. The machine: {flops.describe(fastest)}.',
    '',
    '| residues | side | compile, s | one pass, s | peak memory above import and weights, MiB | mean pLDDT |',
    '|--:|:--|--:|--:|--:|--:|',
  ]
  for result in results:
    for side, m in result['sides'].items():
      lines.append(
        f'| {result["num_res"]} | {side} | {m["compile_seconds"]:.1f} | {m["seconds"]:.2f} | '
        f'{m["memory_bytes"] / 2**20:.0f} | {m["score"]:.3f} |'
      )
  lines += [
    '',
    '| residues | compile, ours/peer | time, ours/peer | memory, ours/peer | '
    'share of matrix-product rate, ours | peer |',
    '|--:|--:|--:|--:|--:|--:|',
  ]
  for r in results:
    lines.append(
      f'| {r["num_res"]} | {r["compile_ratio"]:.2f} | **{r["time_ratio"]:.2f}** | **{r["memory_ratio"]:.2f}** | '
      f'{r["matmul_share"]:.0%} | {r["peer_matmul_share"]:.0%} |'
    )
  return '\n'.join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  turns.add_flags(parser, SIDES, sizes=(64, 128, 256), repeats=2, passes=2)
  parser.add_argument(
    '--dtype',
    choices=('float32', 'bfloat16'),
    default='float32',
    help='of our trunk; the peer computes in its fastest (default: %(default)s)',
  )
  parser.add_argument(
    '--complex', action='store_true', help=f'two chains, each of half of the residues, by {_MODEL_OF_COMPLEXES}'
  )
  parser.add_argument('--model', default=_MODEL, help=argparse.SUPPRESS)  # of a side's own process
  args = parser.parse_args()
  model = _MODEL_OF_COMPLEXES if args.complex else args.model
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # this process measures a GPU's rate between sides
  cases = [Case(n, args.num_msa, args.num_extra, args.num_block, args.dtype, model) for n in args.num_res]
  turns.main(__file__, args, SIDES, cases, compare, table, section=section_of if args.num_block == 48 else None)


def section_of(results: list[dict]) -> str:
  """Which section of docs/benchmarks.md takes the table."""
  if not results[0]['on_cpu']:
    return 'predict_vs_alphafold_gpu'
  kind = '_complex' if results[0].get('model') == _MODEL_OF_COMPLEXES else ''
  return f'predict_vs_alphafold{kind}' + ('' if results[0]['dtype'] == 'float32' else '_bfloat16')


if __name__ == '__main__':
  main()
