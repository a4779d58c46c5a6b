# SPDX-License-Identifier: Apache-2.0
"""How far does bfloat16 move a prediction, here and in DeepMind's network? And one of the model that ships?

  python benchmarks/bfloat16.py                     # two depths, and mini; rewrites docs/benchmarks.md
  python benchmarks/bfloat16.py --num-block 2 --num-res 32 --json

With random weights both networks (DeepMind's as packaged in alphafold-colabfold) compute the same batches in float32
and in bfloat16; a network's drift is the distance between its own two predictions: the r.m.s.d. of C-alpha atoms once
superposed, and the mean absolute difference of pLDDT. That of one seed is chance; the mean over seeds is compared.
"""

import argparse
import json
import os
import sys

import numpy as np
import turns

_FULL = 48  # blocks


def network_drifts(sizes, seeds: int) -> dict:
  """Mean drifts of both networks over seeds."""
  from parity import rounding

  found = [rounding.drifts(sizes, seed, optimised=True) for seed in range(seeds)]
  means = {side: rounding.Drift(*np.mean([one[side] for one in found], axis=0).tolist()) for side in found[0]}
  ours, official = means['ours'], means['official']
  return {
    **sizes._asdict(),
    'seeds': seeds,
    'ours': ours._asdict(),
    'official': official._asdict(),
    'rmsd_ratio': ours.rmsd / official.rmsd,
    'plddt_ratio': ours.plddt / official.plddt,
  }


def mini_drift(params: str | None, seeds: int) -> dict:
  """The mean drift of the model that ships on the alignment that ships."""
  from parity import rounding

  import alphafold_jax as afj
  from alphafold_jax.constants import residues

  model = afj.load_model('mini', params)
  query = afj.read_queries(turns.ROOT / 'examples' / '4zey_A.a3m')[0]
  carbon = residues.ATOM_INDEX['CA']

  def predicted(seed, dtype):
    one = afj.predict(model, query, seed=seed, dtype=dtype)
    return rounding.Predicted(one.atom_positions[:, carbon], one.plddt)

  found = [rounding.drift(predicted(seed, 'bfloat16'), predicted(seed, 'float32')) for seed in range(seeds)]
  mean = rounding.Drift(*np.mean(found, axis=0).tolist())
  return {'seeds': seeds, 'ours': mean._asdict()}


def table(networks: list[dict], mini: dict | None, command: str) -> str:
  """The results in Markdown."""
  lines = [
    f'One pass with random weights, mean over seeds; {os.cpu_count()} cores; '
    f'{turns.versions("alphafold-colabfold")}. Command: `{command}`',
    '',
    '| blocks | residues | rows | seeds | r.m.s.d. ours, Å | official, Å | ours/official | pLDDT ours | '
    'official | ours/official |',
    '|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|',
  ]
  for r in networks:
    ours, official = r['ours'], r['official']
    lines.append(
      f'| {r["num_block"]} | {r["num_res"]} | {r["num_msa"] + r["num_extra"]} | {r["seeds"]} | {ours["rmsd"]:.3f} | '
      f'{official["rmsd"]:.3f} | **{r["rmsd_ratio"]:.2f}** | {ours["plddt"]:.3f} | {official["plddt"]:.3f} | '
      f'**{r["plddt_ratio"]:.2f}** |'
    )
  if mini:
    drift = mini['ours']
    lines += [
      '',
      f'`mini` on `examples/4zey_A.a3m`, four passes, mean over {mini["seeds"]} seeds: r.m.s.d. '
      f'**{drift["rmsd"]:.3f} Å**, pLDDT **{drift["plddt"]:.3f}**.',
    ]
  return '\n'.join(lines)


def main() -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--num-block', type=int, nargs='+', default=(2, _FULL), help='Evoformer blocks (default: 2 48)')
  parser.add_argument('--num-res', type=int, default=64, help='residues (default: %(default)s)')
  parser.add_argument('--num-msa', type=int, default=32, help='clustered alignment rows (default: %(default)s)')
  parser.add_argument('--num-extra', type=int, default=64, help='extra alignment rows (default: %(default)s)')
  parser.add_argument('--num-pass', type=int, default=1, help='passes; each side recycles its own (default: 1)')
  parser.add_argument('--seeds', type=int, default=6, help='default: %(default)s')
  parser.add_argument('--mini-params', help="mini's parameter file (default: the package's, if it is there)")
  parser.add_argument('--json', action='store_true', help='print one JSON object per line, and write no table')
  given = parser.parse_args()
  sys.path[:0] = [str(turns.ROOT / 'tests'), str(turns.ROOT)]
  from parity import rounding

  from alphafold_jax.weights import shipped

  networks, mini = [], None
  for num_block in given.num_block:
    sizes = rounding.Sizes(num_block, given.num_res, given.num_msa, given.num_extra, given.num_pass)
    networks.append(network_drifts(sizes, given.seeds))
    print(json.dumps(networks[-1]), file=sys.stdout if given.json else sys.stderr, flush=True)
  if given.mini_params or shipped.exists():
    mini = mini_drift(given.mini_params, given.seeds)
    print(json.dumps(mini), file=sys.stdout if given.json else sys.stderr, flush=True)
  if given.json:
    return
  text = table(networks, mini, ' '.join(['python', 'benchmarks/bfloat16.py', *sys.argv[1:]]))
  print(text)
  if _FULL in given.num_block:
    turns.write_section('bfloat16', text)


if __name__ == '__main__':
  main()
