# SPDX-License-Identifier: Apache-2.0
"""One pass of this package beside DeepMind's network as packaged in alphafold-colabfold, at its best CPU settings.

  python benchmarks/predict_vs_alphafold.py                      # 64, 128, 256 residues; rewrites docs/benchmarks.md
  python benchmarks/predict_vs_alphafold.py --num-res 128 --json # one JSON object, nothing rewritten

Both sides get the same random weights and the same alignment rows, and each measurement has a process of its own; the
processes take turns, since machines drift. The peer runs with fused projections, in float32 (faster than bfloat16 on
CPUs) and at both of its settings of `subbatch_size`, 4 and none; it is the faster one that is compared.
"""

import argparse
import dataclasses
import functools

import peer
import turns

_MODEL = 'model_5_ptm'


# --- One side, in its own process ---


def _inputs(case: turns.Case):
  """Our configuration, official arrays, and a batch whose rows are drawn in the same order every time."""
  from alphafold_jax.weights import random
  oracle = peer.oracle()
  config = oracle.our_configuration(
      _MODEL, case.num_block, sampling__num_msa=case.num_msa, sampling__num_extra=case.num_extra,
      sampling__masked_fraction=0.0)
  batch = oracle.random_batch(case.num_res, case.num_msa + case.num_extra, num_templates=0)
  return config, random.random_official(config), batch


def _ours(case: turns.Case) -> turns.Program:
  """This package."""
  import jax
  import jax.numpy as jnp

  from alphafold_jax.model import alphafold, passes, recycling
  from alphafold_jax.weights import official
  config, arrays, batch = _inputs(case)
  params = jax.tree.map(jnp.asarray, official.from_official(arrays, config))
  batch = jax.tree.map(jnp.asarray, batch)
  programs = passes.compiled(alphafold.make_spec(config), False)
  context = programs.prepare(params, jax.random.key(0), batch)

  def arguments(_):  # what is recycled is given away, so each pass needs its own
    previous = recycling.initial_recycled(case.num_res, config.embedder.c_m, config.embedder.c_z)
    return params, jax.random.key(1), batch, context, previous

  return turns.Program(programs.one_pass, arguments, lambda result: float(result.confidence.mean_plddt))


def _peer(case: turns.Case, subbatch_size: int | None) -> turns.Program:
  """The peer."""
  import haiku as hk
  import jax
  from alphafold.model import config as peer_config
  from alphafold.model import modules

  from alphafold_jax import confidence
  from alphafold_jax.model import recycling
  config, arrays, batch = _inputs(case)
  oracle = peer.oracle()
  theirs = peer_config.model_config(_MODEL)  # its projections are fused by default
  theirs.update_from_flattened_dict({
      'model.global_config.bfloat16': False,
      'model.global_config.subbatch_size': subbatch_size,
      'model.embeddings_and_evoformer.evoformer_num_block': case.num_block,
      'model.embeddings_and_evoformer.extra_msa_stack_num_block': config.extra_msa.num_block})
  previous = recycling.initial_recycled(case.num_res, config.embedder.c_m, config.embedder.c_z)
  features = oracle.make_features(batch, case.num_msa, case.num_extra) | oracle.recycled(previous)

  def one_pass(features):
    return modules.AlphaFoldIteration_noE(theirs.model, theirs.model.global_config)(features, is_training=False)

  arguments = (oracle.pass_params(peer.fused(arrays)), jax.random.PRNGKey(0), jax.device_put(features))
  return turns.Program(
      jax.jit(hk.transform(one_pass).apply), lambda _: arguments,
      lambda result: float(confidence.plddt(result['predicted_lddt']['logits']).mean()))


SIDES = {
    'ours': _ours,
    'peer, subbatch_size 4': functools.partial(_peer, subbatch_size=4),
    'peer, no subbatches': functools.partial(_peer, subbatch_size=None),
}


# --- Both sides ---


def compare(case: turns.Case, repeats: int, passes: int) -> dict:
  """Measures all sides; ours is compared with the faster of the peer's."""
  import flops
  sides = turns.compare(__file__, SIDES, case, repeats, passes)
  fastest = min((side for side in SIDES if side != 'ours'), key=lambda side: sides[side]['seconds'])
  rate = flops.matmul_rate()  # of a large matrix product here; then the shares of it that both reach
  count = flops.pass_flops(case.num_res, case.num_msa, case.num_extra, case.num_block, min(case.num_block, 4))
  share, peer_share = (round(count / sides[side]['seconds'] / rate, 3) for side in ('ours', fastest))
  return {
      **turns.ratios(sides['ours'], sides[fastest]), **dataclasses.asdict(case), 'repeats': repeats, 'passes': passes,
      'fastest_peer': fastest, 'sides': sides, 'matmul_rate': rate, 'matmul_share': share,
      'peer_matmul_share': peer_share}


def table(results: list[dict], command: str) -> str:
  """The results in Markdown."""
  first = results[0]
  lines = [
      f'One pass of {_MODEL}, {first["num_block"]} blocks, {first["num_msa"]} clustered and {first["num_extra"]} extra '
      'alignment rows, float32, random weights.', turns.conditions(first['repeats'], first['passes'], command), '',
      '| residues | side | compile, s | one pass, s | peak memory above import and weights, MiB | mean pLDDT |',
      '|--:|:--|--:|--:|--:|--:|']
  for result in results:
    for side, m in result['sides'].items():
      lines.append(
          f'| {result["num_res"]} | {side} | {m["compile_seconds"]:.1f} | {m["seconds"]:.2f} | '
          f'{m["memory_bytes"] / 2**20:.0f} | {m["score"]:.3f} |')
  lines += ['', '| residues | compile, ours/peer | time, ours/peer | memory, ours/peer | '
            'share of matrix-product rate, ours | peer |', '|--:|--:|--:|--:|--:|--:|']
  for r in results:
    lines.append(
        f'| {r["num_res"]} | {r["compile_ratio"]:.2f} | **{r["time_ratio"]:.2f}** | **{r["memory_ratio"]:.2f}** | '
        f'{r["matmul_share"]:.0%} | {r["peer_matmul_share"]:.0%} |')
  return '\n'.join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  turns.add_flags(parser, SIDES, sizes=(64, 128, 256), repeats=2, passes=2)
  args = parser.parse_args()
  cases = [turns.Case(n, args.num_msa, args.num_extra, args.num_block) for n in args.num_res]
  turns.main(__file__, args, SIDES, cases, compare, table, writes=args.num_block == 48)


if __name__ == '__main__':
  main()
