# SPDX-License-Identifier: Apache-2.0
"""One training step of this package beside value_and_grad over the official modules' own loss.

  python benchmarks/train_step.py                                  # crops of 64 and 128; rewrites docs/benchmarks.md
  python benchmarks/train_step.py --num-res 64 --json              # one JSON object, nothing rewritten
  python benchmarks/train_step.py --num-block 2 --no-dropout --json  # both sides' losses must agree

The network is model_3_ptm as `train_initial` trains it (Suppl. Table 4: 128 clustered and 1,024 extra rows), one
example, one pass, no templates. Both sides get the same random weights, alignment rows and structure, weigh the losses
the same, rematerialise every block, and compute in float32 on CPUs, else in bfloat16. The peer (alphafold-colabfold)
has its projections fused; its labels and features are made beforehand, ours within the step. Each measurement has a
process of its own, and the processes take turns. The third side is our whole step: clipping, Adam, averaging as well.
"""

import argparse
import dataclasses
from types import SimpleNamespace

import peer
import turns

_MODEL = 'model_3_ptm'


@dataclasses.dataclass(frozen=True)
class Case(turns.Case):
  """The sizes of the example, and whether dropout is on."""

  dropout: bool = True


# --- One side, in its own process ---


def _inputs(case: Case):
  """Our experiment, official arrays, and a batch with a structure; its rows are drawn in one order."""
  from alphafold_jax import config as configs
  from alphafold_jax import experiments
  from alphafold_jax.weights import random

  changes = {
    'evoformer.num_block': case.num_block,
    'extra_msa.num_block': min(case.num_block, 4),
    'sampling.num_msa': case.num_msa,
    'sampling.num_extra': case.num_extra,
    'sampling.masked_fraction': 0.0,
  }
  if not case.dropout:
    changes |= dict.fromkeys(configs.DROPOUT, 0.0)
  config = configs.changed(
    experiments.experiment_config('train_initial', _MODEL),
    {f'model.{key}': value for key, value in changes.items()} | {'step.batch_size': 1, 'step.max_passes': 1},
  )
  return config, random.random_official(config.model), _example(case)


def _example(case: Case):
  """Random rows; a random walk with clouds of atoms for a structure, some of them missing."""
  import numpy as np

  from alphafold_jax.constants import residues

  batch = peer.random_inputs().random_batch(case.num_res, case.num_msa + case.num_extra, num_templates=0)
  rng = np.random.default_rng(1)
  positions = np.cumsum(rng.normal(0, 2.2, (case.num_res, 1, 3)), axis=0) + rng.normal(0, 1.2, (case.num_res, 37, 3))
  mask = residues.ATOM37_MASK[batch.aatype] * (rng.random((case.num_res, 37)) < 0.95)
  targets = dataclasses.replace(
    batch.targets,
    atom_positions=np.float32(positions * mask[..., None]),
    atom_mask=np.float32(mask),
    resolution=np.float32(2.0),
    use_clamped_fape=np.float32(1.0),
  )
  return dataclasses.replace(batch, targets=targets)


def _ours(case: Case) -> turns.Program:
  """Value and gradient of the loss of our step."""
  import jax
  import jax.numpy as jnp

  from alphafold_jax import programs
  from alphafold_jax.train import specs
  from alphafold_jax.train import step as steps
  from alphafold_jax.weights import official

  config, arrays, batch = _inputs(case)
  spec = specs.make_step_spec(config)

  def value_and_gradient(params, key, batch):
    return jax.value_and_grad(lambda given: steps.recycled_loss(spec, given, key, batch, 1)[0])(params)

  params = jax.tree.map(jnp.asarray, official.from_official(arrays, config.model))
  arguments = (params, jax.random.key(0), jax.tree.map(jnp.asarray, batch))
  return turns.Program(programs.Program(value_and_gradient), lambda _: arguments, lambda result: float(result[0]))


def _whole_step(case: Case) -> turns.Program:
  """Our whole step on one device; it takes over its state's memory, so each call goes on from the one before."""
  import jax
  import jax.numpy as jnp

  from alphafold_jax.data.training import feeding
  from alphafold_jax.train import sharding, specs
  from alphafold_jax.train import step as steps
  from alphafold_jax.weights import official

  config, arrays, batch = _inputs(case)
  spec, mesh = specs.make_step_spec(config), sharding.make_mesh(devices=jax.devices()[:1])
  params = jax.tree.map(jnp.asarray, official.from_official(arrays, config.model))
  first = [sharding.on_every_device(steps.initial_state(spec, jax.random.key(0), params), mesh)]
  batch, places = sharding.spread(feeding.stack([batch]), 0, mesh)

  def arguments(result):
    return result[0] if result else first.pop(), jax.random.key(1), batch, places

  return turns.Program(sharding.sharded_step(spec, mesh), arguments, lambda result: float(result[1].loss))


def _peer(case: Case) -> turns.Program:
  """Value and gradient of the peer's own loss."""
  import haiku as hk
  import jax
  import numpy as np
  from alphafold.model import config as peer_config
  from alphafold.model import modules

  from alphafold_jax.model import alphafold
  from alphafold_jax.train import specs

  config, arrays, batch = _inputs(case)
  oracle, model = peer.oracle(), config.model
  from parity import losses

  theirs = peer_config.model_config(_MODEL).model  # its projections are fused by default
  theirs.update_from_flattened_dict(
    {
      'global_config.bfloat16': jax.default_backend() != 'cpu',
      'global_config.use_remat': True,
      'global_config.deterministic': not case.dropout,
      'embeddings_and_evoformer.evoformer_num_block': case.num_block,
      'embeddings_and_evoformer.extra_msa_stack_num_block': model.extra_msa.num_block,
      # The losses of initial training: neither violations nor experimentally resolved atoms.
      'heads.structure_module.structural_violation_loss_weight': 0.0,
      'heads.structure_module.compute_in_graph_metrics': False,
      'heads.experimentally_resolved.weight': 0.0,
    }
  )
  hidden = SimpleNamespace(tokens=batch.msa.tokens[: case.num_msa], mask=np.zeros((case.num_msa, case.num_res), 'f4'))
  fields = oracle.make_features(batch, case.num_msa, case.num_extra)
  fields |= losses.official_fields(batch, SimpleNamespace(masked_msa=hidden)) | {'seq_length': case.num_res}
  fields = jax.tree.map(lambda x: np.asarray(x)[None], fields)  # one draw of the alignment
  network = alphafold.network(specs.make_step_spec(config).network)
  previous = oracle.recycled(network.initial(case.num_res))

  def loss(fields, previous):
    run = modules.AlphaFoldIteration(theirs, theirs.global_config)
    return run(fields, previous, is_training=True, compute_loss=True)[1] * case.num_res**0.5  # Suppl. 1.9, as ours

  arguments = (oracle.pass_params(peer.fused(arrays)), jax.random.PRNGKey(0), jax.device_put(fields), previous)
  return turns.Program(
    jax.jit(jax.value_and_grad(hk.transform(loss).apply)), lambda _: arguments, lambda result: float(result[0])
  )


SIDES = {'ours': _ours, 'ours, whole step': _whole_step, 'peer': _peer}


# --- Both sides ---


def compare(case: Case, repeats: int, passes: int) -> dict:
  """Measures all sides; the ratios are of value and gradient."""
  import flops
  import jax

  sides = turns.compare(__file__, SIDES, case, repeats, passes)
  count = flops.step_flops(case.num_res, case.num_msa, case.num_extra, case.num_block, min(case.num_block, 4))
  result = {
    **turns.ratios(sides['ours'], sides['peer']),
    **dataclasses.asdict(case),
    'repeats': repeats,
    'passes': passes,
    'device': jax.devices()[0].device_kind,
    'rates': flops.rates(),
    'sides': sides,
  }
  for measured in sides.values():
    measured['tflops'] = round(count / measured['seconds'] / 1e12, 3)
  return result


def table(results: list[dict], command: str) -> str:
  """The results in Markdown."""
  import flops

  first = results[0]
  fastest = {dtype: max(result['rates'][dtype] for result in results) for dtype in first['rates']}
  lines = [
    f'Value and gradient of the loss of `train_initial` on one example and one pass of {_MODEL}, '
    f'{first["num_block"]} blocks, {first["num_msa"]} clustered and {first["num_extra"]} extra alignment rows, '
    f'random weights, on {first["device"]}.',
    turns.conditions(first['repeats'], first['passes'], command) + f'. The machine: {flops.describe(fastest)}.',
    '',
    '| crop | side | compile, s | one step, s | TFLOP/s | peak memory above import and weights, MiB | loss |',
    '|--:|:--|--:|--:|--:|--:|--:|',
  ]
  for result in results:
    for side, m in result['sides'].items():
      lines.append(
        f'| {result["num_res"]} | {side} | {m["compile_seconds"]:.1f} | {m["seconds"]:.2f} | {m["tflops"]:.3g} | '
        f'{m["memory_bytes"] / 2**20:.0f} | {m["score"]:.3f} |'
      )
  lines += ['', '| crop | compile, ours/peer | time, ours/peer | memory, ours/peer |', '|--:|--:|--:|--:|']
  lines += [
    f'| {r["num_res"]} | {r["compile_ratio"]:.2f} | **{r["time_ratio"]:.2f}** | **{r["memory_ratio"]:.2f}** |'
    for r in results
  ]
  return '\n'.join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  turns.add_flags(parser, SIDES, sizes=(64, 128), repeats=2, passes=1)
  parser.add_argument('--dropout', action=argparse.BooleanOptionalAction, default=True, help='as in training')
  args = parser.parse_args()
  cases = [Case(n, args.num_msa, args.num_extra, args.num_block, args.dropout) for n in args.num_res]
  section = 'train_step' if args.num_block == 48 and args.dropout else None
  turns.main(__file__, args, SIDES, cases, compare, table, section=section)


if __name__ == '__main__':
  main()
