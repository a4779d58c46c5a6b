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
import datetime
import functools
import importlib.metadata
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_TABLE = _ROOT / 'docs' / 'benchmarks.md'
_SIZES = (64, 128, 256)
_MODEL = 'model_5_ptm'


@dataclasses.dataclass(frozen=True)
class Case:
  """What is predicted."""

  num_res: int
  num_msa: int
  num_extra: int
  num_block: int


# --- One side, in its own process ---


def _oracle():
  sys.path.insert(0, str(_ROOT / 'tests'))
  import oracle
  return oracle


def _inputs(case: Case):
  """Our configuration, official arrays, and a batch whose rows are drawn in the same order every time."""
  from alphafold_jax.weights import random
  oracle = _oracle()
  config = oracle.our_configuration(
      _MODEL, case.num_block, sampling__num_msa=case.num_msa, sampling__num_extra=case.num_extra,
      sampling__masked_fraction=0.0)
  batch = oracle.random_batch(case.num_res, case.num_msa + case.num_extra, num_templates=0)
  return config, random.random_official(config), batch


def _ours(case: Case):
  """This package: (compiled function, arguments, how to read the mean pLDDT), nothing traced yet."""
  import jax
  import jax.numpy as jnp

  from alphafold_jax import prediction
  from alphafold_jax.model import alphafold, recycling
  from alphafold_jax.weights import official
  config, arrays, batch = _inputs(case)
  params = jax.tree.map(jnp.asarray, official.from_official(arrays, config))
  batch = jax.tree.map(jnp.asarray, batch)
  prepare, one_pass = prediction._compiled(alphafold.make_spec(config), False)
  context = prepare(params, jax.random.key(0), batch)

  def arguments():  # what is recycled is given away, so each pass needs its own
    previous = recycling.initial_recycled(case.num_res, config.embedder.c_m, config.embedder.c_z)
    return params, jax.random.key(1), batch, context, previous

  return one_pass, arguments, lambda result: float(result.confidence.mean_plddt)


def _peer(case: Case, subbatch_size: int | None):
  """The peer: likewise."""
  import haiku as hk
  import jax
  from alphafold.model import config as peer_config
  from alphafold.model import modules

  from alphafold_jax import confidence
  from alphafold_jax.model import recycling
  config, arrays, batch = _inputs(case)
  oracle = _oracle()
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

  arguments = (oracle.pass_params(_fused(arrays)), jax.random.PRNGKey(0), jax.device_put(features))
  return jax.jit(hk.transform(one_pass).apply), lambda: arguments, lambda result: float(
      confidence.plddt(result['predicted_lddt']['logits']).mean())


def _fused(arrays):
  """Published arrays with the left and right projections of triangle multiplications side by side."""
  import numpy as np
  renamed = {}
  for name, array in arrays.items():
    if 'triangle_multiplication' not in name:
      renamed[name] = array
    elif '/left_projection//' in name or '/left_gate//' in name:
      new = name.replace('/left_projection//', '/projection//').replace('/left_gate//', '/gate//')
      renamed[new] = np.concatenate([array, arrays[name.replace('/left_', '/right_')]], axis=-1)
    elif '/right_' not in name:
      renamed[name.replace('/layer_norm_input//', '/left_norm_input//')
              .replace('/center_layer_norm//', '/center_norm//')] = array
  return renamed


SIDES = {
    'ours': _ours,
    'peer, subbatch_size 4': functools.partial(_peer, subbatch_size=4),
    'peer, no subbatches': functools.partial(_peer, subbatch_size=None),
}


def _memory(field: str) -> int:
  return int(re.search(rf'{field}:\s+(\d+) kB', Path('/proc/self/status').read_text())[1]) * 1024


def measure(side: str, case: Case, passes: int) -> dict[str, float]:
  """Compiles, runs `passes` times, and reports seconds and bytes."""
  import jax
  one_pass, arguments, mean_plddt = SIDES[side](case)
  jax.block_until_ready(arguments())
  Path('/proc/self/clear_refs').write_text('5')  # the peak so far was that of making weights: forget it
  before = _memory('VmRSS')
  start = time.perf_counter()
  compiled = one_pass.lower(*arguments()).compile()
  compile_seconds = time.perf_counter() - start
  compile_peak = _memory('VmHWM') - before
  seconds, cpu_seconds = [], []
  for _ in range(passes + 1):
    inputs = jax.block_until_ready(arguments())
    start, cpu_start = time.perf_counter(), time.process_time()
    result = jax.block_until_ready(compiled(*inputs))
    seconds.append(time.perf_counter() - start)
    cpu_seconds.append(time.process_time() - cpu_start)
  score = mean_plddt(result)
  analysis = compiled.memory_analysis()
  return {
      'compile_seconds': compile_seconds, 'seconds': statistics.median(seconds[1:]), 'first_seconds': seconds[0],
      'cpu_seconds': statistics.median(cpu_seconds[1:]),
      'memory_bytes': _memory('VmHWM') - before, 'compile_memory_bytes': compile_peak,
      'planned_bytes': analysis.temp_size_in_bytes + analysis.output_size_in_bytes, 'mean_plddt': score}


# --- Both sides ---


def _run_side(side: str, case: Case, passes: int) -> dict[str, float]:
  command = [sys.executable, __file__, '--side', side, '--passes', str(passes)]
  for field in dataclasses.fields(case):
    command += [f'--{field.name.replace("_", "-")}', str(getattr(case, field.name))]
  environment = os.environ | {'PYTHONPATH': os.pathsep.join([str(_ROOT), os.environ.get('PYTHONPATH', '')]),
                              'JAX_ENABLE_COMPILATION_CACHE': 'false'}
  done = subprocess.run(command, env=environment, capture_output=True, text=True)
  if done.returncode:
    raise SystemExit(f'{side} at {case} failed:\n{done.stderr[-3000:]}')
  return json.loads(done.stdout.splitlines()[-1])


def compare(case: Case, repeats: int, passes: int) -> dict:
  """Runs all sides in turns; seconds and bytes are medians over the turns."""
  turns = {side: [] for side in SIDES}
  for turn in range(repeats):
    for side in sorted(SIDES, reverse=turn % 2):
      turns[side].append(_run_side(side, case, passes))
      print(f'{side}: {json.dumps(turns[side][-1])}', file=sys.stderr, flush=True)
  medians = {
      side: {key: statistics.median(turn[key] for turn in results) for key in results[0]}
      for side, results in turns.items()}
  ours = medians['ours']
  fastest = min((side for side in SIDES if side != 'ours'), key=lambda side: medians[side]['seconds'])
  peer = medians[fastest]

  def ratio(key):
    return round(ours[key] / peer[key], 3)

  return {
      'compile_ratio': ratio('compile_seconds'), 'time_ratio': ratio('seconds'), 'memory_ratio': ratio('memory_bytes'),
      **dataclasses.asdict(case), 'repeats': repeats, 'passes': passes, 'fastest_peer': fastest, 'sides': medians}


def _matmul_shares(case: Case, result: dict) -> tuple[float, float, float]:
  """Rate of a large matrix product here, and the shares of it that ours and the peer reach."""
  import flops
  rate = flops.matmul_rate()
  count = flops.pass_flops(case.num_res, case.num_msa, case.num_extra, case.num_block, min(case.num_block, 4))
  return rate, *(count / result['sides'][side]['seconds'] / rate for side in ('ours', result['fastest_peer']))


def _hardware() -> str:
  info = Path('/proc/cpuinfo')
  name = re.search(r'model name\s*: (.*)', info.read_text())[1] if info.exists() else platform.processor()
  return f'{os.cpu_count()} cores of {name}'


def _versions() -> str:
  packages = ('jax', 'dm-haiku', 'alphafold-colabfold')
  return ', '.join(f'{package} {importlib.metadata.version(package)}' for package in packages)


def table(results: list[dict], command: str) -> str:
  """The results in Markdown."""
  first = results[0]
  lines = [
      f'One pass of {_MODEL}, {first["num_block"]} blocks, {first["num_msa"]} clustered and {first["num_extra"]} extra '
      'alignment rows, float32, random weights.',
      f'{_hardware()}; Python {platform.python_version()}, {_versions()}; {datetime.date.today().isoformat()}; '
      f'medians of {first["repeats"]} processes with {first["passes"]} passes each. Command: `{command}`', '',
      '| residues | side | compile, s | one pass, s | peak memory above import and weights, MiB | mean pLDDT |',
      '|--:|:--|--:|--:|--:|--:|']
  for result in results:
    for side, m in result['sides'].items():
      lines.append(
          f'| {result["num_res"]} | {side} | {m["compile_seconds"]:.1f} | {m["seconds"]:.2f} | '
          f'{m["memory_bytes"] / 2**20:.0f} | {m["mean_plddt"]:.3f} |')
  lines += ['', '| residues | compile, ours/peer | time, ours/peer | memory, ours/peer | '
            'share of matrix-product rate, ours | peer |', '|--:|--:|--:|--:|--:|--:|']
  for r in results:
    lines.append(
        f'| {r["num_res"]} | {r["compile_ratio"]:.2f} | **{r["time_ratio"]:.2f}** | **{r["memory_ratio"]:.2f}** | '
        f'{r["matmul_share"]:.0%} | {r["peer_matmul_share"]:.0%} |')
  return '\n'.join(lines)


def write_section(path: Path, name: str, text: str) -> None:
  """Replaces what stands between a file's two markers of that name."""
  begin, end = f'<!-- {name}: begin, written by a command -->', f'<!-- {name}: end -->'
  old = path.read_text() if path.exists() else ''
  if begin not in old:
    old += f'\n{begin}\n{end}\n'
  head, rest = old.split(begin, 1)
  path.write_text(f'{head}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}')


def _parse() -> argparse.Namespace:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--num-res', type=int, nargs='+', default=_SIZES, help='residues (default: 64 128 256)')
  parser.add_argument('--num-msa', type=int, default=128, help='clustered alignment rows')
  parser.add_argument('--num-extra', type=int, default=1024, help='extra alignment rows')
  parser.add_argument('--num-block', type=int, default=48, help='Evoformer blocks (fewer for a quick look)')
  parser.add_argument('--repeats', type=int, default=2, help='processes of each side')
  parser.add_argument('--passes', type=int, default=2, help='timed passes in each process, after one to warm up')
  parser.add_argument('--json', action='store_true', help='print one JSON object per size, and write no table')
  parser.add_argument('--side', choices=SIDES, help='measure one side in this process')
  return parser.parse_args()


def main() -> None:
  args = _parse()
  cases = [Case(n, args.num_msa, args.num_extra, args.num_block) for n in args.num_res]
  if args.side:
    print(json.dumps(measure(args.side, cases[0], args.passes)))
    return
  results = []
  for case in cases:
    result = compare(case, args.repeats, args.passes)
    rate, share, peer_share = _matmul_shares(case, result)
    results.append(result | {
        'matmul_rate': rate, 'matmul_share': round(share, 3), 'peer_matmul_share': round(peer_share, 3)})
    if args.json:
      print(json.dumps(results[-1]), flush=True)
  if not args.json:
    text = table(results, ' '.join(['python', 'benchmarks/predict_vs_alphafold.py', *sys.argv[1:]]))
    print(text)
    if args.num_block == 48:
      write_section(_TABLE, 'predict_vs_alphafold', text)


if __name__ == '__main__':
  main()
