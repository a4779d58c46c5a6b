# SPDX-License-Identifier: Apache-2.0
"""What compilers of other machines reserved, as recorded, beside the planner; and how it is recorded."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / 'benchmarks'))

import elsewhere  # noqa: E402

from alphafold_jax.elsewhere import compilers, counting, lowering, reading, report, roofline, targets  # noqa: E402

FIGURES = {
  (path.stem, name): figure
  for path in elsewhere.files()
  for name, figure in elsewhere.read(path).items()
  if 'said' in figure
}
PASSES = {name: figure for name, figure in FIGURES.items() if figure['said']['planned_bytes'] is not None}
# Planned bytes as a share of the reserved ones, at most; fitted are passes of single chains on one device, jax 0.10.2.
FITTED, SMALLER_SLICES = 1.05, 1.25
OTHERS = 1.2  # newer compilers keep less of a shared protein, and of complexes


# ------------------------------------------------------------------------------------------ the planner


@pytest.mark.parametrize('name', PASSES, ids=' '.join)
def test_the_planner_says_what_the_compiler_reserves_or_a_little_more(name):
  figure, (file, _) = PASSES[name], name
  if figure['said']['chunk_bytes'] != 256 * 2**20:
    most = SMALLER_SLICES
  elif file != 'figures' or figure['cell']['work'] == elsewhere.COMPLEX or figure['cell']['devices'] > 1:
    most = OTHERS
  else:  # a TPU's arrays that fit its fast memory stay there, at 1,024 residues some
    most = FITTED + 0.03 * figure['cell']['target'].startswith('v')
  assert 1 <= elsewhere.planned(figure) / figure['said']['reserved_bytes'] <= most, figure['said']['versions']


def test_figures_are_of_this_table_and_name_their_versions():
  names = {cell.name: cell for cell in elsewhere.cells()}
  assert all(set(elsewhere.read(path)) <= set(names) for path in elsewhere.files())
  for (_, name), figure in FIGURES.items():
    said = figure['said']
    assert said['target'] == names[name].target and said['note'] == 'compiled, not measured'
    assert {'alphafold_jax', 'jax', 'jaxlib'} < set(said['versions']) and figure['date'] > '2026'
    assert said['parts'] is None or said['parts']['aliased'] > 0  # what recycles takes the place of what it was


# ------------------------------------------------------------------------------------------ the page


def rendered(said):
  """What `compile` printed of a recorded figure."""
  work = lowering.Lowering(
    said['kind'],
    said['what'],
    None,
    said['devices'],
    said['chunk_bytes'],
    said['available_bytes'],
    said['planned_bytes'],
  )
  exchanges = {kind: reading.Exchange(**one) for kind, one in said['collectives'].items()}
  program = reading.ProgramContents(said['kernels'], exchanges, said['collectives_are_at_least'])
  expectation = None
  if said.get('expected_seconds'):
    assumed, launches = said['assumptions'], said['launches']
    all_of_it = counting.Launch('all', 'fusion', '', '', launches, said['traffic_bytes'])
    counts = counting.WorkCount(
      said['flops'], said['kernels_without_count'], (all_of_it,), assumed['loops_of_unknown_length_run_once']
    )
    low, high = said['parts_of_low_end'], said['parts_of_high_end']
    expectation = roofline.Expectation(low, high, counts, assumed['share_of_links'])
  memory, versions = reading.Memory(**said['parts']), said['versions']
  return str(
    report.CompileReport(
      target=targets.parse(said['target']),
      work=work,
      compile_seconds=said['compile_seconds'],
      available=said['available_bytes'],
      reserved=said['reserved_bytes'],
      memory=memory,
      program=program,
      expectation=expectation,
      versions={name: versions[name] for name in compilers._DISTRIBUTIONS if name in versions},
    )
  )


def test_the_page_shows_what_is_recorded():
  """Outputs for people and the JSON, whose lines are broken, are found by what they say was compiled."""
  page = (elsewhere.ROOT / 'docs' / 'elsewhere.md').read_text(encoding='utf-8')
  said = [figure['said'] for (file, _), figure in FIGURES.items() if file == elsewhere.FIGURES.stem]
  known = {(one['target'], one['what']): one for one in said}
  outputs = r'^\$ alphafold-jax compile [^\n]*\n(([\w:-]+): [^\n]*\n([^\n]*)\n.*?)\n(?=\n\$|```)'
  shown = [found for found in re.findall(outputs, page, re.M | re.S) if found[1:] in known]
  for text, *names in shown:
    assert text == rendered(known[tuple(names)]), f'put what is recorded of {" ".join(names)} into docs/elsewhere.md'
  objects = [
    json.loads(text.replace('\n', ' ')) for text in re.findall(r'^\{"target".*?\}\n(?=```)', page, re.M | re.S)
  ]
  for said in objects:
    assert said | known[said['target'], said['what']] == said
  assert len(shown) > 2 and objects


# ------------------------------------------------------------------------------------------ the record


CELL = elsewhere.Cell('h200', 'mini', 64, slices=4)
SAID = {'planned_bytes': 3 * 2**30, 'reserved_bytes': 2**30, 'compile_seconds': 7.0}


def a_python(tmp_path, body):
  """A program in the place of an interpreter, which writes down how it is called."""
  path = tmp_path / 'python'
  path.write_text(
    f'#!{sys.executable}\nimport sys, time\nopen({str(tmp_path / "calls")!r}, "a").write(repr(sys.argv[1:]))\n{body}\n'
  )
  path.chmod(0o755)
  return str(path)


@pytest.fixture
def figures(tmp_path, monkeypatch):
  path = tmp_path / 'figures.json'
  monkeypatch.setattr(elsewhere, 'FIGURES', path)
  return path


def test_a_cell_is_one_command_and_its_name_says_which():
  assert CELL.name == 'h200 mini 64 x1 auto 4MiB'
  assert CELL.command == [
    *('compile', '--for', 'h200', '--json', '--model', 'mini', '--num-res', '64', '--devices', '1'),
    *('--config', 'kernels.chunk_bytes=4194304'),
  ]
  step = elsewhere.Cell('v5e:16x16', 'train_initial', kernels='pallas')
  assert step.name == 'v5e:16x16 train_initial pallas'
  assert step.command[4:] == ['--experiment', 'train_initial', '--kernels', 'pallas']
  names = [cell.name for cell in elsewhere.cells()]
  assert len(names) == len(set(names))


def test_what_is_recorded_is_not_compiled_again_unless_asked(tmp_path, figures, capsys):
  python = a_python(tmp_path, f'print({json.dumps(SAID)!r})')
  for again in (False, False, True):
    elsewhere.compile_all([CELL], {'cuda': python}, 60, again)
  assert (tmp_path / 'calls').read_text().count('compile') == 2
  assert elsewhere.read(figures)[CELL.name]['said'] == SAID
  assert capsys.readouterr().out.splitlines()[0] == 'h200 mini 64 x1 auto 4MiB: 1.00 GiB, planned 3.00, in 7.0 s'


@pytest.mark.parametrize(
  'body, limit, message',
  [
    ('sys.stderr.write("h200: the compiler is not installed"); sys.exit(2)', 60, 'h200: the compiler is not installed'),
    ('sys.exit(9)', 60, 'its process ended with exit code 9'),
    ('time.sleep(60)', 0.2, 'not compiled in 0.2 s'),
  ],
)
def test_a_failure_is_recorded_with_its_reason_and_told(body, limit, message, tmp_path, figures, capsys):
  elsewhere.compile_all([CELL], {'cuda': a_python(tmp_path, body)}, limit, False)
  assert elsewhere.read(figures)[CELL.name]['failure'] == message
  assert message in capsys.readouterr().out


def test_a_figure_takes_its_place_beside_those_of_other_processes(figures):
  elsewhere.record('b', {'failure': 'none'}, figures)
  elsewhere.record('a', {'failure': 'one'}, figures)
  elsewhere.record('b', {'failure': 'another'}, figures)
  assert list(elsewhere.read(figures).items()) == [('a', {'failure': 'one'}), ('b', {'failure': 'another'})]


def test_figures_of_processes_that_record_at_once_are_all_kept(tmp_path):
  path = tmp_path / 'figures.json'
  code = (
    'import sys; from pathlib import Path; import elsewhere\n'
    "for place in range(20): elsewhere.record(f'{sys.argv[1]} {place}', {}, Path(sys.argv[2]))"
  )
  folder = Path(elsewhere.__file__).parent
  processes = [subprocess.Popen([sys.executable, '-c', code, name, path], cwd=folder) for name in 'abc']
  assert [process.wait(60) for process in processes] == [0, 0, 0]
  assert len(elsewhere.read(path)) == 3 * 20


def test_a_pattern_that_no_cell_has_is_refused(capsys):
  with pytest.raises(SystemExit) as left:
    elsewhere.main(['--only', 'h2000*', '--list'])
  assert left.value.code == 2 and '--only h2000*: no cell has such a name' in capsys.readouterr().err


def test_of_failures_only_their_reasons_are_told(figures, tmp_path):
  name = elsewhere.cells()[0].name
  elsewhere.record(name, {'cell': {}, 'date': '2026-11-30', 'failure': 'no room'}, figures)
  elsewhere.write_tables(tmp_path / 'page.md')
  text = (tmp_path / 'page.md').read_text()
  assert f'- `{name}`: no room' in text and 'Not tried yet: ' in text


def test_the_page_has_what_was_compiled_and_what_was_not(tmp_path, figures, monkeypatch):
  cells = [elsewhere.Cell('h200', 'model_5_ptm', 256), elsewhere.Cell('h200', 'train_mini'), CELL]
  monkeypatch.setattr(elsewhere, 'cells', lambda: cells)
  said = next(iter(PASSES.values()))['said']
  for cell, came in zip(
    cells, ({'said': said}, {'said': said | {'kind': 'step', 'planned_bytes': None, 'fits': False}}, {})
  ):
    asked = {key: value for key, value in dataclasses.asdict(cell).items() if value}
    elsewhere.record(cell.name, {'cell': asked, 'date': '2026-11-30', 'failure': 'no room'} | came, figures)
  page = tmp_path / 'page.md'
  page.write_text('before\n<!-- elsewhere: begin, written by a command -->\nold\n<!-- elsewhere: end -->\nafter\n')
  elsewhere.write_tables(page)
  text = page.read_text()
  assert text.startswith('before\n') and text.endswith('after\n') and 'old\n' not in text
  assert '| h200 | model_5_ptm | 256 | 1 | auto |' in text and '**no**' in text
  assert f'jax {said["versions"]["jax"]}' in text and 'Compiled, not measured' in text
  assert '- `h200 mini 64 x1 auto 4MiB`: no room' in text
