# SPDX-License-Identifier: Apache-2.0
"""Runs whose files have AlphaFold DB's names, other kinds of plots, or a database's entry: ranked and resumed alike."""

import zipfile

import gemmi
import pytest
from small_runs import ALONE, OTHER, SEQUENCE, count_predictions, load_json, names, predict

from alphafold_jax import installed, runs
from alphafold_jax.data.queries import Query, read_queries
from alphafold_jax.evaluation import finding
from alphafold_jax.runs.work import inputs, keys, provenance
from alphafold_jax.search.databases import FASTA, HHSUITE, MMSEQS, Database

HEADER = 'sp|P01112|RASH_HUMAN GTPase HRas OS=Homo sapiens OX=9606 GN=HRAS PE=1 SV=1'
NAMED = (*ALONE, '--naming', 'afdb')
SEED = 'alphafold2_ptm_model_1_seed_00'


def source_of(folder, *records):
  path = folder / 'p.fasta'
  path.write_text(''.join(f'>{header}\n{sequence}\n' for header, sequence in records))
  return path


def structures(out) -> list[str]:
  return sorted(name for name in names(out) if name.endswith(('.cif', '.pdb')))


def best(out, job='P01112') -> tuple[str, float]:
  """The tag and mean pLDDT of the best prediction on record."""
  row = load_json(out / f'{job}.done.txt')['predictions'][0]
  return row['tag'], row['mean_plddt']


@pytest.mark.slow
def test_the_best_model_has_the_names_of_alphafold_db_whatever_is_ranked_beside_it(tmp_path, monkeypatch):
  source, out = source_of(tmp_path, (HEADER, SEQUENCE)), tmp_path / 'out'
  assert predict(source, out, *NAMED) == 0
  ours = ['AF-P01112-F1-model_v4.cif', 'AF-P01112-F1-model_v4.pdb']
  assert structures(out) == ours and load_json(out / 'names.json') == {'P01112': HEADER}
  assert {f'AF-P01112-F1-{name}_v4.json' for name in ('confidence', 'predicted_aligned_error')} < names(out)
  assert f'P01112_scores_rank_001_{SEED}0.json' in names(out) and 'P01112_predicted_aligned_error_v1.json' not in names(
    out
  )
  first = (out / ours[0]).read_text()
  assert 'P01112' in first and 'RASH_HUMAN' in first
  computed = count_predictions(monkeypatch)
  assert predict(source, out, *NAMED) == 0 and not computed
  assert predict(source, out, *NAMED, '--num-seeds', '3') == 0 and len(computed) == 2
  assert 'out/AF-*-F1-model_v4.pdb; all scores' in (out / 'log.txt').read_text()
  tag, plddt = best(out)
  block = gemmi.cif.read(str(out / ours[0])).sole_block()
  assert float(block.find_values('_ma_qa_metric_global.metric_value')[0]) == pytest.approx(plddt, abs=0.01)
  others = [f'P01112_unrelaxed_rank_00{rank}_' for rank in (2, 3)]
  assert [name.partition('alphafold2')[0] for name in structures(out)[2:]] == [one for one in others for _ in range(2)]
  assert not [name for name in structures(out) if f'_{tag}.' in name]
  assert 'removed' not in (out / 'log.txt').read_text()


@pytest.mark.slow
def test_proteins_of_one_accession_keep_apart_and_are_packed_under_their_names(tmp_path):
  source, out = source_of(tmp_path, (HEADER, SEQUENCE), (f'{HEADER} mutant', OTHER)), tmp_path / 'out'
  assert predict(source, out, *NAMED, '--zip') == 0
  assert 'AF-*-F1-model_v4.pdb in each of' in (out / 'log.txt').read_text()
  for job in ('P01112', 'P01112_2'):
    with zipfile.ZipFile(out / f'{job}.result.zip') as archive:
      assert {f'AF-{job}-F1-model_v4.cif', f'AF-{job}-F1-model_v4.pdb', f'{job}.a3m'} < set(archive.namelist())


@pytest.mark.slow
def test_what_was_done_gets_other_kinds_of_plots_and_viewers_without_computing(tmp_path, monkeypatch):
  source, out = source_of(tmp_path, ('p', SEQUENCE)), tmp_path / 'out'
  assert predict(source, out, *ALONE) == 0
  before = {name: (out / name).read_bytes() for name in names(out) if name.startswith('p_')}
  computed = count_predictions(monkeypatch)
  flags = [flag for flag in ALONE if not flag.startswith('plots')]
  flags.remove('--skip-output')
  assert predict(source, out, *flags, '--plot-format', 'svg,pdf', '--plot-format', 'png') == 0 and not computed
  made = names(out)
  assert {f'p_{plot}.{kind}' for plot in ('coverage', 'plddt', 'pae') for kind in ('png', 'svg', 'pdf')} <= made
  assert {'p.cxc', 'p.pml'} <= made and {name: (out / name).read_bytes() for name in before} == before
  assert predict(source, out, *flags, '--plot-format', 'pdf') == 0 and not computed
  assert {'p_pae.pdf'} <= names(out) and not {'p_pae.png', 'p_pae.svg'} & names(out)


def test_chains_of_a_complex_keep_the_headers_of_their_records(tmp_path):
  other = 'sp|P02070|HBB_BOVIN Hemoglobin subunit beta OS=Bos taurus OX=9913 GN=HBB PE=1 SV=1'
  (query,) = read_queries(source_of(tmp_path, (HEADER, SEQUENCE), (other, OTHER)), complex=True)
  assert provenance.of_job(inputs.Job('p', query), runs.Options(params='random')).headers == (HEADER, other)


def test_names_plots_and_origins_change_no_key_of_a_prediction():
  def key(**changes):
    options = runs.Options(params='random', **changes)
    made = keys.Keys(options, dict.fromkeys(options.models, 'random'), None)
    return made.prediction('input', 'model_1_ptm', 0), made.job('input'), made.formats

  changed = [key(naming='afdb'), key(plot_format=frozenset({'svg', 'png'})), key(plot_format=frozenset({'svg'}))]
  changed += [key(origin='designed'), key(skip_output=frozenset({'viewers'}))]
  assert {prediction for prediction, _, _ in changed} == {key()[0]}
  assert len({job for _, job, _ in [key(), *changed]}) == len({formats for _, _, formats in [key(), *changed]}) == 6
  assert {'--naming', '--plot-format', '--origin'}.isdisjoint(runs.Options(params='random').flags())
  assert runs.Options(plot_format=frozenset({'svg', 'pdf'})).flags()['--plot-format'] == '--plot-format pdf,svg'


def test_a_missing_foldcomp_is_said_at_the_start(monkeypatch, tmp_path, capsys):
  monkeypatch.setattr(installed, 'version', lambda package: None)
  assert predict(source_of(tmp_path, ('p', SEQUENCE)), tmp_path / 'out', *ALONE, '--foldcomp') == 2
  said = capsys.readouterr().err
  assert "--foldcomp: the package foldcomp is not installed; run `pip install '.[foldcomp]'`" in said
  assert not (tmp_path / 'out').exists()


# ------------------------------------------------------------------------------------------ what a run knows


@pytest.mark.parametrize(
  ('role', 'name', 'kind', 'shown', 'version'),
  [
    ('uniref90', 'uniref90.fasta.gz', FASTA, 'UniRef90', None),
    ('mgnify', 'mgy_clusters_2022_05.fa', FASTA, 'MGnify', '2022_05'),
    ('uniref30', 'uniref30_2302_db', MMSEQS, 'UniRef30', '2302'),
    ('env', 'colabfold_envdb_202108_db', MMSEQS, 'ColabFoldDB', '202108'),
    ('pdb70', 'pdb70_from_mmcif_200401', HHSUITE, 'PDB70', '200401'),
    ('uniref30', 'UniRef30_2021_03', HHSUITE, 'UniRef30', '2021_03'),
    ('custom', 'mine_v2.fasta', FASTA, 'mine_v2.fasta', None),
  ],
)
def test_databases_have_the_version_that_their_name_states(role, name, kind, shown, version, tmp_path):
  found = provenance._used(Database(role, tmp_path / name, kind))
  assert (found.name, found.version) == (shown, version)
  assert (found.url is None) == ((role, kind) not in provenance._URLS)


def test_the_header_in_an_alignment_is_that_of_its_protein(tmp_path):
  (tmp_path / 'p.a3m').write_text(f'#A3M#\n>{HEADER}\n{SEQUENCE}\n>x\n{SEQUENCE}\n')
  options = runs.Options(params='random')
  job = inputs.Job('p', Query('p', SEQUENCE, tmp_path / 'p.a3m'))
  known = provenance.of_job(job, options)
  assert known.headers == (HEADER,) and [step.gives for step in known.steps] == ['alignment']
  (tmp_path / 'p.a3m').write_text(f'>101\n{SEQUENCE}\n')
  assert provenance.of_job(job, options).headers == ('p',)
  bare = provenance.of_job(inputs.Job('p', Query(HEADER, SEQUENCE)), options)
  assert (bare.headers, bare.steps) == ((HEADER,), ())


def test_an_evaluation_takes_the_best_model_under_its_other_name(tmp_path):
  names_of_run = ['AF-P01112-F1-model_v4.cif', f'P01112_unrelaxed_rank_002_{SEED}1.cif', 'AF-Q9Y6K9-F1-model_v4.cif']
  for name in (*names_of_run, f'P01112_scores_rank_001_{SEED}0.json'):
    (tmp_path / name).write_text('')
  ours, downloaded = sorted(finding.find_predictions(tmp_path), key=lambda one: one.rank is None)
  assert (ours.id, ours.rank, ours.path.name) == ('P01112', 1, names_of_run[0]) and ours.scores is not None
  assert (downloaded.id, downloaded.rank) == ('AF-Q9Y6K9-F1-model_v4', None)
