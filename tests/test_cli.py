# SPDX-License-Identifier: Apache-2.0
"""The command line: messages after mistakes, exit codes, and what is shown."""

import errno
import gzip
import io
import os
import re
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from small_runs import A3M, ALONE, OTHER, SEQUENCE, SMALL, fasta, in_terminal, load_json, predict, python

from alphafold_jax import cli, devices, prediction, screen
from alphafold_jax.cli import colabfold
from alphafold_jax.weights import store


@pytest.mark.parametrize(
  'command',
  [
    [],
    ['predict'],
    ['params'],
    ['params', 'download'],
    ['params', 'list'],
    ['params', 'verify'],
    ['params', 'check'],
    ['params', 'export'],
    ['doctor'],
    ['msa'],
    ['evaluate'],
    ['trim'],
    ['train'],
    ['dataset'],
    ['db'],
    ['db', 'build'],
    ['db', 'download'],
    ['db', 'list'],
    ['cache'],
    ['cache', 'list'],
    ['cache', 'clean'],
    ['cache', 'programs'],
    ['cache', 'programs', 'import'],
  ],
)
def test_help_needs_neither_jax_nor_numpy(command):
  code = (
    'import sys; from alphafold_jax import cli; code = cli.main(sys.argv[1:]); '
    'sys.exit(code or {"jax", "numpy", "rich", "ml_collections"} & set(sys.modules) or None)'
  )
  done = python(code, *command, '--help')
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith('usage: alphafold-jax') and 'Traceback' not in done.stderr


def test_version_is_printed(capsys):
  assert cli.main(['--version']) == 0
  assert re.fullmatch(r'alphafold-jax \d+\.\d+\.\d+\n', capsys.readouterr().out)


@pytest.mark.parametrize(
  'arguments',
  [
    [],
    ['fold'],
    ['predict'],
    ['predict', 'x.fasta'],
    ['predict', 'a', 'b', '--fast'],
    ['predict', 'a', 'b', '--num-mod', '3'],
    ['params'],
  ],
)
def test_wrong_usage_exits_2(arguments, capsys):
  assert cli.main(arguments) == 2
  assert 'usage' in ''.join(capsys.readouterr())


# What becomes of the flags of colabfold_batch 1.6.3: they are ours too, or change no result, or are refused by name.
OURS = (
  'msa-only', 'msa-mode', 'templates', 'custom-template-path', 'max-template-date', 'max-template-hits',
  'local-pdb-path', 'num-recycle', 'recycle-early-stop-tolerance', 'num-ensemble', 'num-seeds', 'random-seed',
  'num-models', 'model-type', 'model-order', 'use-dropout', 'max-seq', 'max-extra-seq', 'max-msa', 'data', 'rank',
  'stop-at-score', 'jobname-prefix', 'save-all', 'save-recycles', 'save-single-representations',
  'save-pair-representations', 'skip-output', 'overwrite-existing-results', 'zip', 'sort-queries-by', 'host-url',
  'debug-logging', 'pair-mode', 'pair-strategy', 'initial-guess', 'amber', 'num-relax', 'relax-max-iterations',
  'relax-tolerance', 'relax-stiffness', 'relax-max-outer-iterations', 'use-gpu-relax',
)  # fmt: skip
ACCEPTED = (
  ('use-fast-kernels',), ('kernel-backend', 'pallas'), ('compile-mode', 'fast'), ('recompile-padding', '0'),
  ('disable-unified-memory',), ('calc-extra-ptm',), ('custom-template-cache-path', 'cache'),
)  # fmt: skip
REFUSED = (
  ('no-use-probs-extra',), ('disable-cluster-profile',),
  ('pdb-hit-file', 'x.m8'), ('pdb-hit-file',), ('af3-json',),
)  # fmt: skip


def flag_of(words) -> list[str]:
  return [f'--{words[0]}', *words[1:]]


def test_flags_of_colabfold_are_ours_or_known_by_name(capsys):
  assert cli.main(['predict', '--help']) == 0
  listed = capsys.readouterr().out
  assert all(re.search(rf'^  --{name}\b', listed, re.MULTILINE) for name in OURS)
  known = {words[0] for words in (*ACCEPTED, *REFUSED)}
  assert known == {flag.removeprefix('--') for flag in colabfold.FOREIGN} and not known & set(OURS)
  assert not any(f'--{name}' in listed for name in known)


@pytest.mark.parametrize('words', ACCEPTED, ids=' '.join)
def test_flags_of_colabfold_that_change_no_result_are_accepted_with_a_note_by_name(words, capsys):
  assert cli.main(['predict', 'no.fasta', 'out', *flag_of(words)]) == 2
  shown = capsys.readouterr().err
  assert re.search(rf'note: --{words[0]}: .*no result changes', shown) and 'no.fasta: no such file' in shown


@pytest.mark.parametrize('words', REFUSED, ids=' '.join)
def test_flags_of_colabfold_that_would_change_results_are_refused_by_name(words, capsys):
  assert cli.main(['predict', 'a', 'b', *flag_of(words)]) == 2
  assert re.search(rf'error: --{words[0]}: .* is not part of this version; \w+', capsys.readouterr().err)


@pytest.mark.parametrize(
  ('arguments', 'said'),
  [
    ('predict a b --num-recycles 3', 'unknown flag --num-recycles; did you mean --num-recycle?'),
    ('predict a --num_recycle=3', 'unknown flag --num_recycle; did you mean --num-recycle?'),
    ('predict a b --Zip', 'did you mean --zip?'),
    ('msa a b --num-recycle 3', 'unknown flag --num-recycle; it is a flag of `alphafold-jax predict`'),
    ('db list --num-recycle 3', 'it is a flag of `alphafold-jax predict`'),
    ('predict a b --xyz', 'unknown flag --xyz\n'),
    ('predict a b c', 'more than the command takes: c; quote names with spaces'),
    ('predict a b --rank pldt', 'did you mean plddt?'),
    ('predct a b', 'did you mean predict?'),
    ('params downlod', 'did you mean download?'),
    ('--num-recycle 3 predict a b', '--num-recycle stands before the command'),
  ],
)
def test_wrong_usage_comes_with_what_was_meant(arguments, said, capsys):
  assert cli.main(arguments.split()) == 2
  out, err = capsys.readouterr()
  assert said in err and out == ''


@pytest.mark.parametrize(
  ('error', 'code'), [(OSError(errno.ENOSPC, 'No space left on device'), 1), (BrokenPipeError(), 141)]
)
@pytest.mark.parametrize('words', [['--help'], ['predict', '--help'], ['--version'], []])
def test_help_that_cannot_be_written_is_no_success(words, error, code, monkeypatch):
  stdout = io.StringIO()
  monkeypatch.setattr(stdout, 'write', lambda text: (_ for _ in ()).throw(error))
  monkeypatch.setattr(sys, 'stdout', stdout)
  assert cli.main(words) == code


STOPPED = """if True:
  import atexit, sys
  from alphafold_jax import cli
  atexit.register(print, 'torn down')
  cli._has_jax_to_itself, cli._guarded = lambda: {begun}, lambda _: {code}
  print('said')
  sys.exit(cli.main())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
  'begun, code, torn_down', [(True, 130, False), (True, 143, False), (False, 130, True), (True, 0, True)]
)
def test_a_program_that_is_stopped_does_not_wait_for_jax_to_tear_itself_down(begun, code, torn_down):
  """JAX crashes there, if its compiler was interrupted, and the exit code was that of a segmentation fault."""
  program = [sys.executable, '-c', STOPPED.format(begun=begun, code=code)]
  ended = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
  assert ended.returncode == code and ended.stdout.split('\n')[:-1] == ['said'] + ['torn down'] * torn_down


@pytest.mark.parametrize('lost', [KeyboardInterrupt, cli._Terminated])
def test_a_signal_that_a_callback_swallows_still_ends_the_command(lost):
  with pytest.raises(KeyboardInterrupt) as ended, cli._terminable():
    sys.unraisablehook(types.SimpleNamespace(exc_type=lost, exc_value=lost()))
    time.sleep(5)
  assert ended.type is lost


@pytest.mark.parametrize('words', [['a.fasta', ''], ['', 'out'], ['a.fasta', 'out', '--data', '']])
def test_an_empty_text_is_never_taken_for_a_path(words, capsys):
  assert cli.main(['predict', *words]) == 2
  assert 'it is empty, as of a shell variable that is not set' in capsys.readouterr().err


@pytest.mark.parametrize(
  'command',
  ['predict', 'msa', 'db', 'evaluate', 'relax', 'trim', 'train', 'dataset', 'params', 'doctor', 'cache', 'compile'],
)
def test_help_fits_a_terminal_of_80_columns(command, capsys, monkeypatch):
  monkeypatch.setenv('COLUMNS', '80')
  assert cli.main([command, '--help']) == 0
  assert max(map(len, capsys.readouterr().out.splitlines())) < 80


# ------------------------------------------------------------------------------------------ input that cannot be used

NPZ = b'PK\x03\x04 not really an archive'
BAD_INPUT = {
  'empty.fasta': (b'', 'the file is empty'),
  'headless.fasta': (SEQUENCE.encode(), "stands before any '>' header"),
  'digits.fasta': (b'>p\nMKT12AY\n', "'1' in record 'p' is a digit"),
  'stop.fasta': (b'>p\nMK*TAY\n', 'is a stop in the middle'),
  'chain.fasta': (b'>p\nMKTAY:\n', 'chain 2 of 2 is empty'),
  'nothing.fasta': (b'>p\n\n', 'has no sequence'),
  'binary.fasta': (bytes(range(256)), 'does not occur in text'),
  'wide.fasta': ('>p\nMKTAY\n'.encode('utf-16'), 'UTF-16'),
  'cut.fasta.gz': (gzip.compress(b'>p\nMKTAY\n' * 50)[:-9], 'break off before their end'),
  'rows.a3m': (b'>q\nMKTAY\n>1\nMKTA\n', "record '1' has 4 aligned columns, expected 5"),
  'gap.a3m': (b'>q\nMK-AY\n>1\nMKTAY\n', 'is a gap in the query'),
  'columns.csv': (b'name,seq\np,MKTAY\n', "no column 'id' and 'sequence'"),
  'strange.xyz': (b'>p\nMKTAY\n', "unknown kind of file '.xyz'"),
  'unknown.fasta': (b'>p\nXXXX\n', 'of unknown type'),
  'features.npz': (NPZ, 'not an .npz archive, or a truncated one'),
}


@pytest.mark.parametrize('name', BAD_INPUT)
def test_input_that_cannot_be_used_exits_2_and_makes_nothing(name, tmp_path, capsys):
  content, message = BAD_INPUT[name]
  (tmp_path / name).write_bytes(content)
  assert predict(tmp_path / name, tmp_path / 'out', *ALONE) == 2
  shown = capsys.readouterr().err
  assert message in shown and name in shown and 'Traceback' not in shown and len(shown) < 1000
  assert not (tmp_path / 'out').exists()


def test_a_missing_input_exits_2(tmp_path, capsys):
  for name in ('none.fasta', 'none.npz', 'none'):
    assert predict(tmp_path / name, tmp_path / 'out', *ALONE) == 2
    assert f'{name}: no such file' in capsys.readouterr().err


def test_a_bare_sequence_is_refused_with_the_choices(tmp_path, capsys):
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE)
  assert predict(source, tmp_path / 'out', *SMALL) == 2
  shown = capsys.readouterr().err
  assert all(word in shown for word in ('--msa-mode single_sequence', '.a3m', 'a3mpath', '--msa-mode hmmer', 'p.fasta'))
  assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    (['--num-models', '9'], '--num-models 9: must be 1 to 5'),
    (['--model-order', '1,1'], 'each at most once'),
    (['--model-type', 'alphafold2', '--rank', 'ptm'], 'give no pTM'),
    (['--model-type', 'alphafold2', '--rank', 'multimer'], 'give no pTM and no ipTM'),
    (['--ipsae-cutoff', '40'], '--ipsae-cutoff 40.0: must lie between 0 and 32'),
    (['--max-msa', '0:5'], 'such as 512:1024'),
    (['--max-msa', '8:8', '--max-seq', '4'], 'leave out max_seq'),
    (['--num-recycle', '-1'], '--num-recycle -1: must'),
    (['--random-seed', '-3'], '--random-seed -3: seeds must'),
    (['--stop-at-score', '101'], 'between 0 and 100'),
    (['--skip-output', 'pdb'], 'msa, plots, pae_json'),
    (['--config', 'evoformer.blocks=1'], "no setting 'evoformer.blocks'"),
    (['--config', 'evoformer=1'], 'names a section'),
    (['--config', 'evoformer.num_block=many'], 'must be of the kind of 48'),
    (['--config', 'dtype=float16'], 'cannot be changed there'),
    (['--config', 'evoformer.pair.order=("sideways",)'], 'there is no network'),
    (['--kernels', 'fastest'], "kernel 'fastest' is not one of"),
    (['--devices', '0'], '--devices 0: must be a whole number, 1 or more'),
    (['--custom-template-path', 'nowhere'], 'nowhere: no such file or folder of templates'),
  ],
)
def test_a_flag_that_cannot_be_exits_2_by_name(flags, message, tmp_path, capsys):
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE)
  assert predict(source, tmp_path / 'out', *ALONE, *flags) == 2
  shown = capsys.readouterr().err
  assert message in shown and 'Traceback' not in shown


def test_a_template_that_is_no_structure_exits_2(tmp_path, capsys):
  (tmp_path / 't.cif').write_text('hello')
  assert (
    predict(
      fasta(tmp_path / 'p.fasta', p=SEQUENCE),
      tmp_path / 'out',
      *ALONE,
      '--custom-template-path',
      str(tmp_path / 't.cif'),
    )
    == 2
  )
  assert 't.cif: neither PDB nor mmCIF' in capsys.readouterr().err


def test_missing_weights_exit_2_with_what_to_run(tmp_path, capsys):
  (tmp_path / 'p.a3m').write_text(A3M)
  assert predict(tmp_path / 'p.a3m', tmp_path / 'out', '--data', str(tmp_path)) == 2
  shown = capsys.readouterr().err
  assert 'no params_model_1_ptm.npz there' in shown and 'alphafold-jax params download' in shown
  assert '--params random' in shown and shown.count('\n') < 20 and not (tmp_path / 'out').exists()


def test_the_weights_of_another_model_are_refused_before_anything_runs(tmp_path, capsys):
  (tmp_path / 'p.a3m').write_text(A3M)
  np.savez(tmp_path / 'params_model_1_ptm.npz', **{'some//array': np.zeros(3)})
  assert predict(tmp_path / 'p.a3m', tmp_path / 'out', '--data', str(tmp_path), '--num-models', '1') == 2
  assert 'arrays do not fit model_1_ptm' in capsys.readouterr().err and not (tmp_path / 'out').exists()


def test_one_parameter_file_cannot_serve_five_models(tmp_path, capsys):
  np.savez(tmp_path / 'mine.npz', **{'some//array': np.zeros(3)})
  (tmp_path / 'p.a3m').write_text(A3M)
  assert predict(tmp_path / 'p.a3m', tmp_path / 'out', '--params', str(tmp_path / 'mine.npz')) == 2
  assert '--model-order 3' in capsys.readouterr().err


def test_an_output_that_is_no_folder_exits_2(tmp_path, capsys):
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE)
  (tmp_path / 'file').write_text('mine')
  for out in (tmp_path / 'file', tmp_path / 'file' / 'below'):
    assert predict(source, out, *ALONE) == 2
    assert 'cannot be written' in capsys.readouterr().err
  assert (tmp_path / 'file').read_text() == 'mine'


def test_input_and_output_must_differ(tmp_path, capsys):
  fasta(tmp_path / 'p.fasta', p=SEQUENCE)
  assert predict(tmp_path, tmp_path, *ALONE) == 2
  assert 'are one folder' in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ what is shown


def test_without_a_terminal_there_are_plain_lines_with_times(tmp_path, capsys):
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=OTHER.replace('D', 'B'))
  prediction.forget_programs()  # those of other tests
  assert predict(source, tmp_path / 'out', *ALONE, '--num-recycle', '1') == 0
  shown = capsys.readouterr().out
  assert '\x1b' not in shown and '\r' not in shown
  lines, table = shown.split('\nPredictions')
  assert all(re.match(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ', line) for line in lines.strip().splitlines())
  assert 'q: B read as D' in lines and 'WARNING: RANDOM WEIGHTS: NOT A PREDICTION' in lines
  assert re.search(r'\[1/2\] p model_1_ptm, seed 0: (compiling|read the program) for up to 24 residues', lines)
  assert re.search(
    r'\[1/2\] p model_1_ptm, seed 0: (compiled|read the program for up to 24 residues) in \d+\.\d s.*, now running',
    lines,
  )
  assert re.search(r'\[2/2\] q model_1_ptm, seed 0: running', lines)
  assert re.search(
    r'\[1/2\] p model_1_ptm, seed 0, pass 2 of 2: pLDDT \d+\.\d, pTM 0\.\d\d, moved \d+\.\d Å, '
    r'\d+\.\d s, \d:\d\d:\d\d left in all',
    lines,
  )
  assert 'RANDOM WEIGHTS: NOT A PREDICTION' in table.splitlines()[0]
  assert re.search(r'^p +1 +model_1_ptm +0 +\d\d\.\d +0\.\d\d +\d+\.\d s +\d+$', table, re.MULTILINE)
  assert max(map(len, table.splitlines()[:4])) <= 100 and '2 proteins: 2 done' in table
  log = (tmp_path / 'out' / 'log.txt').read_text()
  assert lines.strip() in log and 'alphafold-jax predict' in log and 'Rank' in log and '\x1b' not in log


def test_quiet_shows_warnings_only_but_the_log_is_complete(tmp_path, capsys):
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out', *ALONE, '--quiet') == 0
  shown = capsys.readouterr().out
  assert all('WARNING' in line for line in shown.splitlines()) and 'pass 1 of 1' not in shown
  assert 'pass 1 of 1' in (tmp_path / 'out' / 'log.txt').read_text()


def test_a_terminal_shows_a_live_display(tmp_path):
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE)
  text = in_terminal('predict', source, tmp_path / 'out', *ALONE)
  assert '\x1b[' in text and 'elapsed' in text and re.search('(compiling|read the program) for up to 24 residues', text)
  assert 'Best structures' in text and not re.search(r'\d\d:\d\d:\d\d p model_1_ptm', text)


# ------------------------------------------------------------------------------------------ how it ends


def test_stopping_it_exits_130_and_says_how_to_go_on(tmp_path, capsys, monkeypatch):
  def stop(*_, **__):
    raise KeyboardInterrupt

  monkeypatch.setattr(prediction, 'predict', stop)
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out', *ALONE) == 130
  assert 'run the same command again' in capsys.readouterr().err
  assert 'the same command goes on from here' in (tmp_path / 'out' / 'log.txt').read_text()


def test_sigterm_ends_in_good_order(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(prediction, 'predict', lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
  before = signal.getsignal(signal.SIGTERM)
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out', *ALONE) == 143
  assert 'SIGTERM' in capsys.readouterr().err and signal.getsignal(signal.SIGTERM) == before


def test_an_unexpected_error_is_one_line_here_and_a_traceback_in_the_log(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(prediction, 'predict', lambda *_, **__: 1 / 0)
  source = fasta(tmp_path / 'p.fasta', p=SEQUENCE, q=OTHER)
  assert predict(source, tmp_path / 'out', *ALONE) == 1
  shown = ''.join(capsys.readouterr())
  assert 'ERROR: p model_1_ptm, seed 0: ZeroDivisionError: division by zero' in shown and 'Traceback' not in shown
  assert (tmp_path / 'out' / 'log.txt').read_text().count('Traceback') == 2
  failures = load_json(tmp_path / 'out' / 'failures.json')
  assert sorted((one['job'], one['stage'], one['error']) for one in failures) == [
    ('p', 'predict', 'ZeroDivisionError'),
    ('q', 'predict', 'ZeroDivisionError'),
  ]
  assert predict(source, tmp_path / 'out', *ALONE, '--debug-logging') == 1
  assert 'Traceback' in capsys.readouterr().out


def test_an_error_outside_the_proteins_says_where_the_details_are(tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(devices, 'describe', lambda: 1 / 0)
  assert predict(fasta(tmp_path / 'p.fasta', p=SEQUENCE), tmp_path / 'out', *ALONE) == 1
  shown = capsys.readouterr().err
  assert 'unexpected ZeroDivisionError' in shown and 'log.txt has the details' in shown and 'Traceback' not in shown
  assert 'Traceback' in (tmp_path / 'out' / 'log.txt').read_text()


def test_the_whole_program_runs_as_a_module(tmp_path):
  done = subprocess.run(
    [sys.executable, '-m', 'alphafold_jax', 'predict', str(tmp_path / 'no.fasta'), 'out'],
    capture_output=True,
    text=True,
    check=False,
    timeout=60,
  )
  assert done.returncode == 2 and done.stderr.startswith('alphafold-jax: error: ') and done.stdout == ''


# ------------------------------------------------------------------------------------------ params, doctor


def test_params_list_shows_every_model(tmp_path, capsys):
  (tmp_path / 'params_model_2_ptm.npz').write_bytes(b'x')
  assert cli.main(['params', 'list', '--data', str(tmp_path)]) == 0
  shown = capsys.readouterr().out
  assert all(re.search(rf'^  {model} ', shown, re.MULTILINE) for model in store.MODELS)
  assert re.search(r'model_2_ptm +unrecorded +1 B', shown) and re.search(r'model_1 +missing', shown)


def test_params_verify_compares_arrays_with_the_model(tmp_path, capsys):
  np.savez(tmp_path / 'params_model_2_ptm.npz', **{'some//array': np.zeros(3)})
  assert cli.main(['params', 'verify', '--data', str(tmp_path)]) == 1
  shown = capsys.readouterr().out
  assert 'damaged' in shown and 'missing: alphafold/alphafold_iteration/' in shown
  assert 'unexpected: some//array' in shown


def test_params_verify_without_any_exits_2(tmp_path, capsys):
  assert cli.main(['params', 'verify', '--data', str(tmp_path)]) == 2
  assert 'no parameter files to verify' in capsys.readouterr().err


def test_params_download_refuses_a_file_that_is_no_archive(tmp_path, capsys):
  (tmp_path / 'a.tar').write_bytes(b'no archive')
  assert cli.main(['params', 'download', '--data', str(tmp_path / 'p'), '--from', str(tmp_path / 'a.tar')]) == 2
  shown = capsys.readouterr().err
  assert 'not a tar archive' in shown and 'Traceback' not in shown


def test_doctor_names_what_is_missing_with_the_remedy(tmp_path, capsys):
  assert cli.main(['doctor', '--data', str(tmp_path)]) == 1
  shown = capsys.readouterr().out
  assert '[NO] parameters' in shown and 'alphafold-jax params download' in ' '.join(shown.split())
  assert 'not ready' in shown and 'jax ' in shown and 'compiled programs' in shown and 'memory' in shown


def test_doctor_is_content_when_the_default_models_are_there(tmp_path, capsys):
  for i in range(1, 6):
    (tmp_path / f'params_model_{i}_ptm.npz').write_bytes(b'x')
  assert cli.main(['doctor', '--data', str(tmp_path)]) == 0
  assert 'This machine can predict structures' in capsys.readouterr().out


def test_a_gpu_that_jax_does_not_use_is_pointed_out(monkeypatch):
  monkeypatch.setattr(devices.machine, 'has_nvidia_driver', lambda: True)
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  assert 'jax[cuda12]' in devices.idle_accelerator()
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  assert 'unset it' in devices.idle_accelerator()


def test_durations_and_counts_read_well():
  assert screen.duration(3725.4) == '1:02:05' and screen.duration(None) == '-'
  assert screen.number(1, 'row') == '1 row' and screen.number(2, 'row') == '2 rows'


@pytest.mark.parametrize(
  ('program', 'said'),
  [
    ('def get_config(:\n', r'SyntaxError: invalid syntax \(mine.py, line 1\)'),
    ('import math\n\nx = math.no\n', 'mine.py, line 3: AttributeError'),
    ('def get_config():\n  return {}[1]\n', 'mine.py, line 2: KeyError: 1'),
    ('x = 1\n', r'mine.py: it defines no get_config\(\)'),
  ],
)
def test_an_experiment_of_ones_own_that_fails_is_told_with_its_line(program, said, tmp_path, capsys):
  (tmp_path / 'mine.py').write_text(program)
  assert cli.main(['train', str(tmp_path / 'run'), '--data', str(tmp_path), '--config', str(tmp_path / 'mine.py')]) == 2
  assert re.search(said, capsys.readouterr().err)
