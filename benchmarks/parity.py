# SPDX-License-Identifier: Apache-2.0
"""How far is this network from DeepMind's, module by module and as a whole? Prints the tables of docs/parity.md.

  python benchmarks/parity.py          # every module, ten parameter sets and three of complexes at two blocks
  python benchmarks/parity.py --full   # and three of them at their published depth

The reference is DeepMind's own modules as packaged in alphafold-colabfold (install the `test` extra), run live with
the same random weights on the same batch, in float32. The comparisons are those of tests/parity.
"""

import argparse
import datetime
import importlib.metadata
import itertools
import platform
import sys
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_PAGE = _ROOT / 'docs' / 'parity.md'
_VERSIONS = ('alphafold-colabfold', 'jax', 'dm-haiku', 'numpy')
_SETS_OF_VARIANT = {
  'two blocks': tuple(f'model_{number}{suffix}' for suffix in ('', '_ptm') for number in range(1, 6)),
  'two blocks, single sequence': ('model_2_ptm', 'model_5'),
  'full depth': ('model_1_ptm', 'model_3'),
}
_BY_HAND = '\n## With the published parameters\n'  # from here on the page is not written by this program
_COLUMNS = ('positions', 'pLDDT', 'PAE', 'distogram', 'masked MSA', 'experimentally resolved')
_OF_COMPLEXES = (*_COLUMNS[:3], 'pTM', 'ipTM', 'ranking', *_COLUMNS[3:])

_TEXT = """# Agreement with DeepMind's AlphaFold

Largest difference between this network and DeepMind's own modules, as a share of the largest value of the output.
Both run with the same random weights (every array drawn, none zero) on the same batch, in float32.
Made by `{command}` on {date}, Python {python}, {versions}, on {device}.

## Modules

Tolerance of the tests: {module_tolerance:.0e}. Each module is run with all residues present and with masks that leave
out residues, cells, whole rows and a template; the larger error is given.

{modules}

## The whole network

Tolerance of the tests: {network_tolerance:.0e}. Recycling is teacher-forced: every pass of both programs is given what
the reference recycled, since recycled distances are binned with hard edges.
The rows of two blocks are compiled without the compiler's optimisation on both sides, those of full depth with it.

{network}

## The network of complexes

Tolerance of the tests: {network_tolerance:.0e}. Random rows and templates of 24 residues in all, the same
teacher-forced passes. In `templates` one slot of four is empty, and in another the last chain has none. Ranking is
0.8 ipTM + 0.2 pTM. Without extra rows the outer product mean adds a large constant to all
pairs, so that some results come out equal to the last bit.

{complexes}

The official network makes the direction from a residue to itself of rounding noise (see what cannot agree, below). In
these comparisons it gives zero for vectors shorter than 0.001 Å, as ours does without further ado.

## The losses

Tolerance of the tests: {loss_tolerance:.0e}. Both sides are given the same outputs of a network and the same structure
({loss_examples}; for those named multimer two chains that overlap, beside the functions of
the published multimer that can be called). Errors are shares of the loss and of the largest entry of each gradient; the
largest is given.

{losses}

## From a file

From an alignment file to a structure, each program with its own feature pipeline (model_3_ptm, two blocks, six rows of
`tests/data/4zey_A.a3m.gz`, nothing masked): {file}.

## What cannot agree

The published models are shown the torsion angles of template residues even where atoms are missing. Missing atoms stand
at the origin, and some of the angles are then directions of a zero vector, that is, rounding noise of either program:
above all pre-omega of the first residue, and of the first after a gap. (The mask beside the angle says that it does not
count.) The templates compared here are made such that this noise is exactly zero.

The networks of complexes are shown, of each template, the direction from every residue to every other. From a residue
to itself that is a vector of length zero. The published program subtracts after rotating, so that up to 4e-6 Å are left
where a compiler fuses the two, and then makes a vector of length one of them: on a real chain half of these vectors
have length one or zero as it happens, and two compilations of it can differ by 9% of the largest value of the pair
representation (random weights). Here they are zero.
"""


def _table(header: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
  """A Markdown table, printed line by line as it is made."""
  lines = []
  for cells in itertools.chain((header, ('---',) * len(header)), rows):
    lines.append(f'| {" | ".join(cells)} |')
    print(lines[-1], flush=True)
  return '\n'.join(lines)


def _module_rows() -> Iterator[tuple[str, ...]]:
  from parity import case, inputs, modules

  for name, each in modules.CASES.items():
    worst = max(max(case.errors(each, masks).values()) for masks in inputs.MASKS)
    yield name, inputs.PARAMETER_SET, f'{worst:.1e}'


def _network_rows(variants: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
  from parity import network

  for variant in variants:
    for name in _SETS_OF_VARIANT[variant]:
      passes = network.errors(name, variant)
      for index in (0, 2):
        errors = passes[index]
        yield variant, name, str(index + 1), *(f'{errors[c]:.1e}' if c in errors else '' for c in _COLUMNS)


def _complex_rows(is_full: bool) -> Iterator[tuple[str, ...]]:
  from parity import complexes

  for case in (*complexes.CASES, *(complexes.FULL_DEPTH if is_full else ())):
    passes, variant = complexes.errors(case), 'two blocks' if case.num_block else 'full depth'
    for index in (0, 2):
      yield variant, case.model, case.inputs, str(index + 1), *(f'{passes[index][c]:.1e}' for c in _OF_COMPLEXES)


def _loss_rows() -> Iterator[tuple[str, ...]]:
  from parity import complex_losses, losses

  examples = [make() for make in losses.examples().values()]
  for name in losses.THEIRS:
    found = [losses.errors(name, example) for example in examples]
    value = max(one.pop('value') for one in found)
    yield name.replace('_', ' '), f'{value:.1e}', f'{max(max(one.values()) for one in found):.1e}'
  for name in complex_losses.LOSSES:
    errors = complex_losses.errors(name, *complex_losses.example())
    value = errors.pop('value')
    yield f'{name.replace("_", " ")}, multimer', f'{value:.1e}', f'{max(errors.values()):.1e}'


def _file_errors() -> str:
  from parity import network

  from alphafold_jax.data.records import read_text

  records = read_text(_ROOT / 'tests' / 'data' / '4zey_A.a3m.gz').split('>')[1:7]
  errors = network.errors_from_a3m('model_3_ptm', ''.join(f'>{record}' for record in records))
  return ', '.join(f'{name} {error:.1e}' for name, error in errors.items())


def main(arguments: list[str] | None = None) -> None:
  parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument('--full', action='store_true', help='compare at full depth too')
  options = parser.parse_args(arguments)

  sys.path[:0] = [str(_ROOT / 'tests'), str(_ROOT)]  # the comparisons, and this checkout before an installed package
  import jax
  from parity import case, losses, network

  variants = tuple(_SETS_OF_VARIANT)[: None if options.full else -1]
  modules = _table(('module', 'parameter set', 'error'), _module_rows())
  whole = _table(('network', 'parameter set', 'pass', *_COLUMNS), _network_rows(variants))
  of_complexes = ('network', 'parameter set', 'inputs', 'pass', *_OF_COMPLEXES)
  complexes = _table(of_complexes, _complex_rows(options.full))
  of_losses = _table(('loss', 'error of the value', 'error of the gradient'), _loss_rows())
  _, heading, by_hand = _PAGE.read_text(encoding='utf-8').partition(_BY_HAND)
  _PAGE.write_text(
    _TEXT.format(
      command='python benchmarks/parity.py' + (' --full' if options.full else ''),
      date=datetime.date.today().isoformat(),
      python=platform.python_version(),
      device=jax.devices()[0].device_kind,
      versions=', '.join(f'{name} {importlib.metadata.version(name)}' for name in _VERSIONS),
      module_tolerance=case.TOLERANCE,
      network_tolerance=network.TOLERANCE,
      modules=modules,
      network=whole,
      complexes=complexes,
      loss_tolerance=losses.TOLERANCE,
      loss_examples=', '.join(losses.examples()),
      losses=of_losses,
      file=_file_errors(),
    )
    + heading
    + by_hand,
    encoding='utf-8',
  )


if __name__ == '__main__':
  main()
