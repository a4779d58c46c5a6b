# SPDX-License-Identifier: Apache-2.0
"""Written files: read back by independent programs, equal to the official writer's records, never half, never NaN."""

import dataclasses
import datetime
import errno
import functools
import io
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import gemmi
import matplotlib.image
import modelcif.reader
import numpy as np
import pytest
from alphafold.common import protein as oracle
from Bio import SeqIO
from Bio.PDB import MMCIFParser, PDBParser
from random_complexes import prediction_of

from alphafold_jax import errors
from alphafold_jax.constants import residues
from alphafold_jax.interfaces import SCORES
from alphafold_jax.output import chain_marks, drawing, files, mmcif, mmcif_targets, pdb, plots, record, scores
from alphafold_jax.output.files import Prediction
from alphafold_jax.output.record import Pass
from alphafold_jax.version import __version__

DATA = Path(__file__).parent / 'data' / 'reference_predictions'
RECORDED = ['5AWL_1', '6A5J']
LOUD = 'RANDOM WEIGHTS: NOT A PREDICTION'


def _prediction(ptm, **arrays):
  return Prediction(
    name='p',
    job='p',
    model_name='model_1_ptm',
    seed=7,
    mean_plddt=float(np.mean(arrays['plddt'])),
    ptm=ptm,
    passes=tuple(Pass(index, 50.0, ptm, 1.0, 2.0) for index in range(2)),
    arrays=arrays,
  )


def _recorded(name):
  with np.load(DATA / f'{name}.npz') as arrays:
    return _prediction(
      aatype=arrays['aatype'],
      atom_positions=arrays['structure_module/final_atom_positions'],
      atom_mask=arrays['structure_module/final_atom_mask'],
      plddt=arrays['plddt'],
      residue_index=arrays['residue_index'],
      asym_id=np.ones(len(arrays['aatype']), int),
      pae=arrays['predicted_aligned_error'],
      ptm=float(arrays['ptm']),
    )


def _made_up(sequence, chain_lengths=None, seed=0):
  """Random atoms in a box; the right ones for each residue."""
  rng = np.random.default_rng(seed)
  aatype = np.array([residues.LETTER_TO_TOKEN[letter] for letter in sequence])
  num_res = len(aatype)
  chain_lengths = chain_lengths or [num_res]
  mask = np.asarray(residues.ATOM37_MASK)[aatype]
  return _prediction(
    aatype=aatype,
    atom_mask=mask,
    plddt=rng.uniform(20, 100, num_res),
    atom_positions=(rng.uniform(-150, 150, (num_res, 37, 3)) * mask[..., None]).astype(np.float32),
    residue_index=np.concatenate([np.arange(n) for n in chain_lengths]),
    asym_id=np.repeat(np.arange(len(chain_lengths)) + 1, chain_lengths),
    pae=rng.uniform(0, 31, (num_res, num_res)).astype(np.float32),
    ptm=0.5,
  )


def _changed(prediction, **changes):
  """The prediction with other fields and arrays; an array that is None is taken away."""
  fields = {field.name for field in dataclasses.fields(Prediction)}
  arrays = {**prediction.arrays, **{name: value for name, value in changes.items() if name not in fields}}
  kept = {name: value for name, value in arrays.items() if value is not None}
  return dataclasses.replace(
    prediction, arrays=kept, **{name: value for name, value in changes.items() if name in fields}
  )


CASES = {
  **{name: _recorded(name) for name in RECORDED},
  'unknown residues': _made_up('XMKXXWACX'),
  'homodimer and another': _made_up('MKTAYWMKTAYWGGHH', [6, 6, 4]),
  'gap in numbering': _changed(_made_up('ARNDCQEGHILKMFPSTWYV'), residue_index=np.r_[0:10, 109:119]),
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(' ', '_'))
def prediction(request):
  return CASES[request.param]


# ------------------------------------------------------------------------------------------ reading back


def _expected_atoms(prediction):
  """(chain, residue number, residue name, atom name) -> coordinates to three decimals, pLDDT to two."""
  chain_of = {asym: chr(ord('A') + i) for i, asym in enumerate(dict.fromkeys(prediction.asym_id.tolist()))}
  expected = {}
  for i, atom in np.argwhere(prediction.atom_mask > 0.5):
    name = residues.RESTYPE_1TO3[(residues.RESTYPES + ('X',))[prediction.aatype[i]]]
    key = chain_of[prediction.asym_id[i]], int(prediction.residue_index[i]) + 1, name, residues.ATOM_TYPES[atom]
    expected[key] = [f'{x:.3f}' for x in prediction.atom_positions[i, atom]] + [f'{prediction.plddt[i]:.2f}']
  return expected


def _biopython_atoms(text, parser):
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    models = list(parser.get_structure('test', io.StringIO(text)))
  assert len(models) == 1
  return {
    (chain.id, residue.id[1], residue.resname, atom.name): [f'{x:.3f}' for x in atom.coord] + [f'{atom.bfactor:.2f}']
    for chain in models[0]
    for residue in chain
    for atom in residue
  }


def _gemmi_atoms(structure):
  assert len(structure) == 1
  return {
    (chain.name, residue.seqid.num, residue.name, atom.name): [f'{x:.3f}' for x in atom.pos.tolist()]
    + [f'{atom.b_iso:.2f}']
    for chain in structure[0]
    for residue in chain
    for atom in residue
    if atom.element.name == atom.name[0]
  }


def _gemmi_mmcif(text):
  return gemmi.make_structure_from_block(gemmi.cif.read_string(text).sole_block())


def test_pdb_is_read_back_by_biopython_unchanged(prediction):
  assert _biopython_atoms(pdb.to_pdb(prediction), PDBParser(PERMISSIVE=False)) == _expected_atoms(prediction)


def test_mmcif_is_read_back_by_biopython_unchanged(prediction):
  text = mmcif.to_mmcif(prediction, 'test')
  assert _biopython_atoms(text, MMCIFParser()) == _expected_atoms(prediction)


def test_pdb_is_read_back_by_gemmi_unchanged(prediction):
  assert _gemmi_atoms(gemmi.read_pdb_string(pdb.to_pdb(prediction))) == _expected_atoms(prediction)


def test_mmcif_is_read_back_by_gemmi_unchanged(prediction):
  assert _gemmi_atoms(_gemmi_mmcif(mmcif.to_mmcif(prediction, 'test'))) == _expected_atoms(prediction)


def _letters(prediction):
  """The sequence of each chain, X where unknown."""
  return {
    asym: ''.join((residues.RESTYPES + ('X',))[a] for a in prediction.aatype[prediction.asym_id == asym])
    for asym in dict.fromkeys(prediction.asym_id.tolist())
  }


@pytest.mark.parametrize('text_format', ['pdb', 'cif'])
def test_sequence_keeps_residues_that_have_no_atoms(prediction, text_format):
  text = pdb.to_pdb(prediction) if text_format == 'pdb' else mmcif.to_mmcif(prediction, 'test')
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Biopython: the file has no HEADER
    records = [str(record.seq) for record in SeqIO.parse(io.StringIO(text), f'{text_format}-seqres')]
  assert records == list(_letters(prediction).values())
  structure = gemmi.read_pdb_string(text) if text_format == 'pdb' else _gemmi_mmcif(text)
  structure.setup_entities()
  found = [gemmi.one_letter_code(structure.get_entity_of(chain.get_polymer()).full_sequence) for chain in structure[0]]
  assert found == list(_letters(prediction).values())


# ------------------------------------------------------------------------------------------ PDB


def _oracle_pdb(prediction):
  return oracle.to_pdb(
    oracle.Protein(
      atom_positions=prediction.atom_positions,
      aatype=prediction.aatype,
      atom_mask=prediction.atom_mask,
      residue_index=prediction.residue_index + 1,
      chain_index=prediction.asym_id - 1,
      b_factors=np.repeat(prediction.plddt[:, None], 37, axis=1),
    )
  )


def test_pdb_coordinates_equal_the_official_ones_line_by_line(prediction):
  def body(text):
    return [line for line in text.splitlines() if line[:6] in ('ATOM  ', 'TER   ', 'ENDMDL', 'END   ')]

  ours, theirs = body(pdb.to_pdb(prediction)), body(_oracle_pdb(prediction))
  # One difference on purpose: a chain that ends in unknown residues is closed after its last atom's residue.
  ours, theirs = ([re.sub('^(TER .{13}).*', r'\1', line) for line in lines] for lines in (ours, theirs))
  assert ours == theirs


def test_ter_names_the_last_residue_that_has_atoms():
  lines = pdb.to_pdb(CASES['unknown residues']).splitlines()
  assert [line.rstrip() for line in lines if line.startswith('TER')] == ['TER      43      CYS A   8']


def test_every_pdb_line_has_80_columns_and_ascii_only(prediction):
  text = pdb.to_pdb(_changed(prediction, notes=('protéine ' + 'long ' * 40,)))
  assert text.isascii()
  assert {len(line) for line in text.splitlines()} == {80}


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'atom_positions': np.full((4, 37, 3), 12345.0)}, 'chain A residue 1 atom N: coordinate 12345.000'),
    ({'atom_positions': np.full((4, 37, 3), -1000.0)}, 'chain A residue 1 atom N: coordinate -1000.000'),
    ({'residue_index': np.array([0, 1, 2, 9999])}, 'residue 10000'),
  ],
)
def test_pdb_refuses_what_breaks_a_column_and_mmcif_takes_it(changes, message):
  prediction = _changed(_made_up('MKTA'), **changes)
  with pytest.raises(errors.InputError, match=f'{message}.*write mmCIF'):
    pdb.to_pdb(prediction)
  assert _gemmi_atoms(_gemmi_mmcif(mmcif.to_mmcif(prediction, 'test'))) == _expected_atoms(prediction)


def test_pdb_refuses_63_chains_and_mmcif_names_them_all():
  assert pdb.to_pdb(_made_up('G' * 62, [1] * 62)).count('TER ') == 62
  prediction = _made_up('G' * 63, [1] * 63)
  with pytest.raises(errors.InputError, match='63 chains.*write mmCIF'):
    pdb.to_pdb(prediction)
  chains = [chain.name for chain in _gemmi_mmcif(mmcif.to_mmcif(prediction, 'test'))[0]]
  assert chains[:2] + chains[25:28] + chains[51:53] == ['A', 'B', 'Z', 'AA', 'BA', 'ZA', 'AB']
  assert len(set(chains)) == 63


@pytest.mark.parametrize(
  ('given', 'written'),
  [
    (('A*', 'A_', 'A+'), ['A__1', 'A_', 'A__2']),
    (('A*', 'A__1', 'A_'), ['A__2', 'A__1', 'A_']),
    (('\u03b1', '\u03b2'), ['_', '__1']),
    (('A-1', 'a-1'), ['A-1', 'a-1']),
  ],
)
def test_names_of_chains_that_mmcif_cannot_hold_stay_different(given, written):
  assert mmcif_targets.identifiers(given) == written


def test_pdb_refuses_more_atoms_than_it_can_number(monkeypatch):
  assert pdb.MAX_SERIAL == 99_999
  monkeypatch.setattr(pdb, 'MAX_SERIAL', 29)
  pdb.to_pdb(_made_up('WW'))  # 28 atoms and the chain's end
  with pytest.raises(errors.InputError, match='30 atoms and chain ends are more than 29.*write mmCIF'):
    pdb.to_pdb(_made_up('WW', [1, 1]))


# ------------------------------------------------------------------------------------------ mmCIF


def _block(prediction, **options):
  return gemmi.cif.read_string(mmcif.to_mmcif(prediction, 'a job', **options)).sole_block()


def test_mmcif_has_plddt_of_every_residue_and_of_the_whole(prediction):
  block = _block(prediction)
  local = list(block.find('_ma_qa_metric_local.', ['label_asym_id', 'label_seq_id', 'metric_value']))
  assert [float(row[2]) for row in local] == pytest.approx(prediction.plddt, abs=0.005)
  assert [int(row[1]) for row in local] == [n + 1 for s in _letters(prediction).values() for n in range(len(s))]
  metrics = {row[0]: (row[1], row[2]) for row in block.find('_ma_qa_metric.', ['id', 'type', 'mode'])}
  overall = block.find('_ma_qa_metric_global.', ['metric_id', 'metric_value'])
  values = {metrics[row[0]]: float(row[1]) for row in overall}
  assert values['pLDDT', 'global'] == pytest.approx(prediction.plddt.mean(), abs=0.005)
  assert values['pTM', 'global'] == pytest.approx(prediction.ptm, abs=0.0005)
  assert ('pLDDT', 'local') in metrics.values()


def test_mmcif_has_the_categories_of_modelcif():
  categories = set(_block(CASES['5AWL_1']).get_mmcif_category_names())
  assert categories >= {
    f'_{name}.'
    for name in (
      'entry',
      'struct',
      'audit_conform',
      'entity',
      'entity_poly',
      'entity_poly_seq',
      'struct_asym',
      'chem_comp',
      'software',
      'citation',
      'ma_software_group',
      'ma_data',
      'ma_target_entity',
      'ma_target_entity_instance',
      'ma_protocol_step',
      'ma_model_list',
      'ma_qa_metric',
      'ma_qa_metric_global',
      'ma_qa_metric_local',
      'atom_site',
      'atom_type',
      'pdbx_poly_seq_scheme',
      'pdbx_data_usage',
    )
  }


def test_mmcif_is_read_by_the_modelcif_library():
  (system,) = modelcif.reader.read(io.StringIO(mmcif.to_mmcif(CASES['homodimer and another'], 'a job')))
  ((_, model),) = system._all_models()
  assert [asym.id for asym in model.assembly] == ['A', 'B', 'C']
  assert len(list(model.get_atoms())) == CASES['homodimer and another'].atom_mask.sum()
  assert [(s.name, s.version) for s in system.software] == [('alphafold_jax', __version__)]
  assert len(system.protocols[0].steps) == 1


def test_identical_chains_are_one_entity():
  block = _block(CASES['homodimer and another'])
  rows = [tuple(row) for row in block.find('_struct_asym.', ['id', 'entity_id'])]
  assert rows == [('A', '1'), ('B', '1'), ('C', '2')]
  assert list(block.find_values('_entity.pdbx_number_of_molecules')) == ['2', '1']


def test_mmcif_is_the_same_every_time_and_dated_only_on_request():
  prediction = CASES['5AWL_1']
  assert mmcif.to_mmcif(prediction, 'x') == mmcif.to_mmcif(prediction, 'x')
  assert not _block(prediction).find_values('_pdbx_audit_revision_history.revision_date')
  dated = _block(prediction, date=datetime.date(2026, 1, 31))
  assert list(dated.find_values('_pdbx_audit_revision_history.revision_date')) == ['2026-01-31']


@pytest.mark.parametrize('name', ['a b', 'x\ny', "it's;_loop_ #1", 'é/ü', ''])
def test_odd_names_leave_the_mmcif_readable(name):
  text = mmcif.to_mmcif(CASES['5AWL_1'], name)
  assert text.isascii()
  assert re.fullmatch(r'[\w.-]+', gemmi.cif.read_string(text).sole_block().name)


# ------------------------------------------------------------------------------------------ never NaN


WRITERS = {
  'pdb': pdb.to_pdb,
  'mmcif': lambda prediction: mmcif.to_mmcif(prediction, 'test'),
  'scores': scores.scores_json,
  'pae': scores.pae_json,
  'pae_afdb': scores.pae_json_afdb,
}


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize(
  ('field', 'index', 'message'),
  [
    ('atom_positions', (2, 1, 0), 'residue 3 of chain A: atom CA'),
    ('plddt', 3, 'residue 4 of chain A: pLDDT is'),
    ('pae', (1, 2), 'residue 2 of chain A: pae is'),
  ],
)
@pytest.mark.parametrize('writer', WRITERS)
def test_numbers_that_are_not_finite_are_refused_with_their_place(writer, field, index, message, value):
  prediction = _made_up('MKTA')
  getattr(prediction, field)[index] = value
  with pytest.raises(errors.NumericalError, match=message):
    WRITERS[writer](prediction)


def test_the_place_of_a_number_that_is_not_finite_names_its_chain():
  prediction = _changed(_made_up('MKTAYIAK', [5, 3]), chain_names=('heavy', 'light'))
  prediction.plddt[6] = np.nan
  with pytest.raises(errors.NumericalError, match='residue 2 of chain light: pLDDT is nan'):
    scores.scores_json(prediction)


def test_ptm_that_is_nan_is_refused():
  with pytest.raises(errors.NumericalError, match='ptm is nan'):
    scores.scores_json(_changed(_made_up('MKTA'), ptm=float('nan')))


def test_position_of_an_absent_atom_may_be_anything():
  prediction = _made_up('MKTA')
  prediction.atom_positions[0, residues.ATOM_INDEX['OXT']] = np.nan
  assert 'nan' not in pdb.to_pdb(prediction).lower()


@pytest.mark.parametrize('writer', ['pdb', 'mmcif'])
def test_structure_of_unknown_residues_only_is_refused(writer):
  with pytest.raises(errors.InputError, match='no atoms to write'):
    WRITERS[writer](_made_up('XXX'))


# ------------------------------------------------------------------------------------------ scores


def _strict(text):
  return json.loads(text, parse_constant=lambda constant: pytest.fail(f'{constant} is not JSON'))


def test_scores_have_colabfolds_schema():
  prediction = _changed(CASES['6A5J'], iptm=0.123)
  read = _strict(scores.scores_json(prediction))
  assert list(read) == ['plddt', 'max_pae', 'pae', 'ptm', 'iptm']
  assert read['plddt'] == np.round(prediction.plddt, 2).tolist()
  assert read['pae'] == np.round(prediction.pae.astype(float), 2).tolist()
  assert (read['max_pae'], read['ptm'], read['iptm']) == (float(prediction.pae.max()), 0.05, 0.12)


def test_scores_of_a_model_without_pae_hold_plddt_alone():
  assert list(_strict(scores.scores_json(_changed(CASES['6A5J'], pae=None, ptm=None)))) == ['plddt']


def test_pae_files_differ_as_their_readers_expect():
  prediction = CASES['6A5J']
  bare, (listed,) = _strict(scores.pae_json(prediction)), _strict(scores.pae_json_afdb(prediction))
  assert set(bare) == set(listed) == {'predicted_aligned_error', 'max_predicted_aligned_error'}
  np.testing.assert_allclose(bare['predicted_aligned_error'], prediction.pae, atol=0.0051)
  np.testing.assert_allclose(listed['predicted_aligned_error'], prediction.pae, atol=0.051)
  assert bare['max_predicted_aligned_error'] == float(prediction.pae.max())
  assert listed['max_predicted_aligned_error'] == 31.75


def test_pae_of_a_model_without_it_is_refused_with_the_remedy():
  with pytest.raises(errors.InputError, match='_ptm model'):
    scores.pae_json(_changed(CASES['6A5J'], pae=None))


# ------------------------------------------------------------------------------------------ plots


def _alignment(num_seq, num_res):
  tokens = np.random.default_rng(0).integers(0, 22, (num_seq, num_res))
  tokens[0] %= 20
  return tokens


PICTURES = {
  'coverage': (plots.coverage, _alignment(300, 120), 'job', [70, 50]),
  'coverage of one residue and row': (plots.coverage, _alignment(1, 1)),
  'coverage, large': (plots.coverage, _alignment(5000, 2000)),
  'plddt': (plots.plddt, [CASES['5AWL_1'], CASES['6A5J']], ['rank_001', 'rank_002'], 'costs $1_000 {x}'),
  'plddt of one residue': (plots.plddt, [_made_up('G')], ['rank_001']),
  'plddt of odd letters': (plots.plddt, [_made_up('GA')], ['\udce9\0\t'], '\udce9 \U0001f9ec 蛋白 ' * 40),
  'plddt, large': (plots.plddt, [_made_up('G' * 2000, seed=s) for s in range(5)], list('abcde')),
  'pae': (plots.pae, [CASES['5AWL_1']] * 7, [f'rank_00{i}_alphafold2_ptm' for i in range(7)], 'job'),
  'pae of one residue': (plots.pae, [_made_up('G')], ['rank_001']),
  'pae, large': (plots.pae, [_made_up('G' * 2000, [1500, 500])], ['rank_001']),
  'interfaces': (plots.interfaces, [prediction_of('A2B')], ['rank_001'], 'job'),
  'interfaces of many chains': (plots.interfaces, [prediction_of('many short')] * 2, ['a', 'b'], 'job'),
  'pae of chains': (plots.pae, [prediction_of('A2B')], ['rank_001'], 'job'),
  'plddt of chains': (plots.plddt, [prediction_of('A2B')], ['rank_001'], 'job'),
  'coverage of chains': (plots.coverage, _alignment(300, 120), 'job', [70, 40, 10], ['A', 'heavy', 'a long name']),
}


def _drawn(draw, *arguments, dpi=150):
  return np.asarray(draw(*arguments, dpi=dpi))


@pytest.mark.parametrize('picture', PICTURES)
def test_plots_are_small_png_files_that_show_something(picture):
  data = plots.png(functools.partial(*PICTURES[picture]))
  assert data.startswith(b'\x89PNG') and len(data) <= plots.MAX_BYTES
  pixels = matplotlib.image.imread(io.BytesIO(data))
  assert min(pixels.shape[:2]) > 150
  assert 0.02 < np.mean(np.ptp(pixels[..., :3].reshape(-1, 3), axis=1) > 0.1)  # coloured, not grey


def test_coverage_counts_the_rows_without_a_gap():
  tokens = np.array([[0, 1, 2, 3], [0, 1, 21, 21], [5, 21, 21, 21]])
  assert plots.covered(tokens).tolist() == [3, 2, 1, 1]


def test_most_similar_rows_are_drawn_on_top():
  tokens = np.array([[0, 1, 2, 3], [5, 5, 5, 21], [0, 1, 2, 5]])
  rows = plots.ranked_rows(tokens)
  np.testing.assert_array_equal(rows, [[100] * 4, [75] * 4, [0, 0, 0, np.nan]])
  pixels = _drawn(plots.coverage, tokens)
  yellow, violet = (np.argwhere((pixels == drawing.colour_map('viridis')[end]).all(-1)) for end in (-1, 0))
  in_panel = [places[places[:, 1] < 1000] for places in (yellow, violet)]  # and not in the scale beside it
  assert in_panel[0][:, 0].max() < in_panel[1][:, 0].min()


def test_pae_rows_are_aligned_and_columns_scored_residues():
  prediction = _made_up('MKT')
  pae = np.full((3, 3), 30.0)
  pae[0, 2] = 0  # aligned on the first residue, the last one scored: above on the right
  pixels = _drawn(plots.pae, [_changed(prediction, pae=pae)], ['rank_001'])
  dark = np.argwhere((pixels == drawing.colour_map('Greens_r')[0]).all(-1))
  light = np.argwhere((pixels == drawing.colour_map('Greens_r')[-1]).all(-1))
  panel = dark[dark[:, 1] < 560]
  assert len(panel) > 10_000
  assert np.median(panel[:, 0]) < np.median(light[:, 0]) and np.median(panel[:, 1]) > np.median(light[:, 1])


def test_colours_of_a_png_are_those_that_were_drawn():
  picture = plots.coverage(_alignment(300, 120), 'job', [70, 50])
  error = np.abs(np.asarray(picture, int) - np.asarray(drawing.indexed(picture).convert('RGB'), int))
  assert error.max() <= 3 and error.mean() < 0.3


def test_an_image_of_few_colours_keeps_them_all():
  picture = plots.plddt([_made_up('GA')], ['rank_001'], dpi=45).quantize(20).convert('RGB')
  np.testing.assert_array_equal(drawing.indexed(picture).convert('RGB'), picture)


@pytest.mark.parametrize('name', ['viridis', 'plasma', 'Greens_r', 'Blues', 'Reds', 'Greys'])
def test_colour_maps_are_those_of_matplotlib(name):
  theirs = matplotlib.colormaps[name](np.arange(256))[:, :3] * 255
  assert np.abs(drawing.colour_map(name) - theirs).max() < 7


@pytest.mark.parametrize('low,high,at_most,expected', [
  (1, 32, 10, [5, 10, 15, 20, 25, 30]), (1, 1, 10, [1]), (0, 8, 9, [*range(9)]), (1, 84, 5, [20, 40, 60, 80]),
  (1, 2000, 4, [500, 1000, 1500, 2000]),
])  # fmt: skip
def test_ticks_are_round_numbers(low, high, at_most, expected):
  assert drawing.ticks(low, high, at_most) == expected


@pytest.mark.slow
def test_pictures_are_drawn_without_loading_matplotlib():
  code = 'import sys, functools; from alphafold_jax.output import files, plots'
  code += '; plots.png(functools.partial(plots.coverage, [[0, 1]]))'
  subprocess.run([sys.executable, '-c', f'{code}; sys.exit("matplotlib" in sys.modules)'], check=True, timeout=60)


def test_large_pae_is_averaged_over_blocks():
  matrix = np.random.default_rng(0).uniform(0, 30, (2501, 2501))
  shrunk = plots.shrunk(matrix)
  assert shrunk.shape == (834, 834)
  assert shrunk[0, 0] == pytest.approx(matrix[:3, :3].mean())
  assert shrunk[-1, -1] == pytest.approx(matrix[2499:, 2499:].mean())


def test_plots_leave_matplotlibs_global_state_alone():
  assert 'matplotlib.pyplot' not in sys.modules or not sys.modules['matplotlib.pyplot'].get_fignums()


# ------------------------------------------------------------------------------------------ files


def _report(*predictions, **options):
  tags = [record.tag(f'model_{i + 1}_ptm', 7, rank=i + 1) for i in range(len(predictions))]
  return record.Report('job', predictions, tags, **options)


def test_files_have_colabfolds_names(tmp_path):
  kept = {'single': np.ones((10, 4), np.float32), 'pair': np.ones((10, 10, 4), np.float32)}
  kept |= {'chain_tm': np.ones((10, 2, 3)), 'asym_id': np.repeat([1, 2], 5)}
  best = _changed(CASES['5AWL_1'], **kept)
  report = _report(
    best, _changed(best, ptm=0.01), msa_tokens=_alignment(5, 10), alignment=lambda: '>q\nA\n', files=[Path(__file__)]
  )
  names = [name for name in files.FORMATS if name != 'foldcomp']  # which takes one chain
  written = files.write(report, tmp_path / 'out', names)
  ranks = ['rank_001_alphafold2_ptm_model_1_seed_007', 'rank_002_alphafold2_ptm_model_2_seed_007']
  expected = {
    'job_predicted_aligned_error_v1.json',
    'job_predicted_aligned_error_afdb.json',
    'job_coverage.png',
    'job_plddt.png',
    'job_pae.png',
    'job_ext_metrics.png',
    'job.a3m',
    'job.html',
    'job.cxc',
    'job.pml',
    'job.result.zip',
  }
  expected |= {f'job_{plot}.{kind}' for plot in ('coverage', 'plddt', 'pae', 'ext_metrics') for kind in ('svg', 'pdf')}
  expected |= {f'AF-job-F1-model_v4.{kind}' for kind in ('pdb', 'cif')}
  expected |= {f'AF-job-F1-{what}_v4.json' for what in ('confidence', 'predicted_aligned_error')}
  for rank in ranks:
    expected |= {
      f'job_all_{rank}.npz',
      f'job_unrelaxed_{rank}.r1.pdb',  # of the last pass, since no other was kept
      f'job_unrelaxed_{rank}.pdb',
      f'job_unrelaxed_{rank}.cif',
      f'job_scores_{rank}.json',
      f'job_single_repr_{rank}.npy',
      f'job_pair_repr_{rank}.npy',
    }
  assert {path.name for path in written.paths} == set(os.listdir(tmp_path / 'out')) == expected
  assert not written.skipped
  assert np.load(tmp_path / 'out' / f'job_pair_repr_{ranks[0]}.npy', allow_pickle=False).shape == (10, 10, 4)


def test_coverage_can_be_drawn_before_anything_is_predicted(tmp_path):
  written = files.write(_report(msa_tokens=_alignment(5, 10)), tmp_path, ['coverage_plot', 'pdb'])
  assert [path.name for path in written.paths] == ['job_coverage.png'] and not written.skipped


def test_tags_pad_rank_and_seed_and_may_lack_a_rank():
  assert record.tag('model_3', 12) == 'alphafold2_model_3_seed_012'
  assert record.tag('mini', 0, rank=1) == 'rank_001_mini_model_1_seed_000'
  recycle = files.file_name('recycles', 'job', record.tag('model_1_ptm', 0), index=2)
  assert recycle == 'job_unrelaxed_alphafold2_ptm_model_1_seed_000.r2.pdb'


def test_notes_are_loud_in_every_structure_and_score_file(tmp_path):
  loud = _changed(CASES['5AWL_1'], notes=(LOUD,))
  for path in files.write(_report(loud), tmp_path, ['pdb', 'mmcif', 'scores', 'pae', 'pae_afdb']).paths:
    assert LOUD in path.read_text()
  assert (
    (tmp_path / 'job_unrelaxed_rank_001_alphafold2_ptm_model_1_seed_007.pdb')
    .read_text()
    .startswith(f'REMARK   6 {LOUD}')
  )
  block = gemmi.cif.read_string(mmcif.to_mmcif(loud, 'job')).sole_block()
  assert LOUD in block.find_value('_struct.title')
  assert [LOUD in text for text in block.find_values('_pdbx_data_usage.details')] == [True, False]


def test_a_format_that_cannot_hold_the_prediction_is_skipped_with_the_reason(tmp_path):
  chains = _changed(_made_up('G' * 63, [1] * 63), pae=None)
  written = files.write(_report(chains), tmp_path, ['pdb', 'mmcif', 'pae', 'pae_plot', 'coverage_plot', 'pair'])
  assert [path.suffix for path in written.paths] == ['.cif']
  reasons = ' '.join(written.skipped.values())
  assert len(written.skipped) == 5
  assert '63 chains' in reasons and '_ptm model' in reasons and 'no alignment' in reasons and 'pair repr' in reasons


def test_a_format_that_is_asked_for_and_cannot_be_had_is_named_in_the_log(tmp_path, caplog):
  assert len(_made_up('ACD').save(tmp_path, formats=('a3m', 'pdb', 'zip'))) == 1
  assert [record.getMessage() for record in caplog.records] == [
    'p.a3m is not written: no alignment was kept to write',
    'p.result.zip is not written: there are no files to pack',
  ]


def test_it_is_an_error_if_no_format_that_is_asked_for_can_be_had(tmp_path):
  with pytest.raises(errors.InputError, match='p.a3m is not written: no alignment was kept'):
    _made_up('ACD').save(tmp_path, formats=['a3m'])
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    ({'formats': 'pdb'}, "formats='pdb': must be a list of names"),
    ({'formats': 3}, 'formats=3: must be a list'),
    ({'formats': ['pdb', 'cif']}, "formats='cif': unknown; choose from pdb, mmcif"),
    ({'formats': [['pdb']]}, 'formats=.*unknown'),
    ({'directory': None}, 'directory=None: must be the name of a folder'),
    ({'directory': '/dev/null/x'}, '/dev/null/x: cannot be written'),
    ({'job': 7}, 'job=7: must be text'),
    ({'job': 'a/b'}, "job name 'a/b'"),
  ],
)
def test_saving_names_the_argument_that_is_wrong_and_writes_nothing(tmp_path, arguments, message):
  with pytest.raises(errors.InputError, match=message):
    _made_up('ACD').save(**({'directory': tmp_path} | arguments))
  assert not list(tmp_path.iterdir())


def test_a_prediction_that_is_not_finite_leaves_no_file(tmp_path):
  prediction = _made_up('MKTA')
  prediction.atom_positions[0, 0, 0] = np.nan
  with pytest.raises(errors.NumericalError):
    files.write(_report(prediction), tmp_path, ['pdb', 'mmcif', 'scores'])
  assert os.listdir(tmp_path) == []


def test_a_record_reads_in_one_line_and_after_a_pass_as_it_was_then():
  prediction = _changed(
    CASES['5AWL_1'], mean_plddt=61.25, pass_positions=np.zeros((2, 10, 37, 3)), pass_plddt=np.ones((2, 10))
  )
  assert repr(prediction) == "Prediction('p', model_1_ptm, seed 7, 2 passes: pLDDT 61.2, pTM 0.06)"
  first = prediction.after_pass(0)
  assert (len(first.passes), first.mean_plddt, first.pae) == (1, 50.0, None)
  assert not first.atom_positions.any() and first.plddt.all() and first.sequence == prediction.sequence == 'YYDPETGTWY'


def test_unknown_format_and_job_names_with_a_slash_are_refused(tmp_path):
  with pytest.raises(errors.InputError, match="'xyz'.*pdb, mmcif"):
    files.write(_report(CASES['5AWL_1']), tmp_path, ['xyz'])
  with pytest.raises(errors.InputError, match='a/b'):
    files.write(dataclasses.replace(_report(CASES['5AWL_1']), job='a/b'), tmp_path, ['pdb'])


@pytest.mark.parametrize('call', ['fsync', 'replace'])
@pytest.mark.parametrize(
  ('code', 'kind', 'message'),
  [
    (errno.ENOSPC, errors.ResourceError, 'disk is full'),
    (errno.EACCES, errors.InputError, 'you may write to'),
  ],
)
def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path, monkeypatch, call, code, kind, message):
  def fail(*_):
    raise OSError(code, os.strerror(code))

  (path,) = files.write(_report(CASES['5AWL_1']), tmp_path, ['pdb']).paths
  old = path.read_text()
  monkeypatch.setattr(os, call, fail)
  with pytest.raises(kind, match=f'{re.escape(str(path))}: .*{message}'):
    files.write(_report(CASES['6A5J']), tmp_path, ['pdb'])
  assert os.listdir(tmp_path) == [path.name] and path.read_text() == old


def test_an_interrupted_write_leaves_no_file(tmp_path, monkeypatch):
  def interrupt(*_):
    raise KeyboardInterrupt

  monkeypatch.setattr(os, 'fsync', interrupt)
  with pytest.raises(KeyboardInterrupt):
    files.write(_report(CASES['5AWL_1']), tmp_path, ['scores'])
  assert os.listdir(tmp_path) == []


def test_a_folder_that_is_a_file_and_a_name_too_long_are_explained(tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(
    errors.InputError, match='file/out: cannot be written .a file or a broken link.*choose another place'
  ):
    files.write(_report(CASES['5AWL_1']), tmp_path / 'file' / 'out', ['pdb'])
  with pytest.raises(errors.InputError, match='name too long'):
    files.write(dataclasses.replace(_report(CASES['5AWL_1']), job='a' * 300), tmp_path, ['pdb'])
  assert os.listdir(tmp_path) == ['file']


def test_chain_names_follow_the_pdbs_order():
  assert [record.chain_name(i) for i in (0, 25, 26, 27, 51, 52, 701, 702)] == [
    'A',
    'Z',
    'AA',
    'BA',
    'ZA',
    'AB',
    'ZZ',
    'AAA',
  ]


# ------------------------------------------------------------------------------------------ several chains


def test_scores_of_complexes_have_colabfolds_keys_and_our_own():
  prediction = prediction_of('A2B')
  read, pairs = _strict(scores.scores_json(prediction)), ['A-B', 'A-C', 'B-C']
  assert list(read) == [
    'plddt', 'max_pae', 'pae', 'ptm', 'iptm', 'ipsae', 'pdockq', 'pdockq2', 'pairwise_actifptm', 'pairwise_iptm',
    'per_chain_ptm', 'actifptm', 'interfaces', 'has_clash',
  ]  # fmt: skip
  assert list(read['pdockq']) == list(read['pairwise_iptm']) == list(read['interfaces']) == pairs
  assert set(read['ipsae']) == set(read['pdockq2']) == {*pairs, 'B-A', 'C-A', 'C-B'}
  assert list(read['per_chain_ptm']) == ['A', 'B', 'C'] == list(prediction.chains)
  assert read['interfaces'] == prediction.interfaces and list(read['interfaces']['A-B']) == list(SCORES)
  assert read['interfaces']['A-B']['ipsae'] == max(read['ipsae']['A-B'], read['ipsae']['B-A'])
  assert prediction.ranking_confidence == pytest.approx(80 * 0.25 + 20 * 0.5)


def test_another_cutoff_of_ipsae_is_said_in_the_file(tmp_path):
  report = _report(prediction_of('A2B'))
  usual, (other,) = (
    scores.scores_json(prediction_of('A2B')),
    files.write(dataclasses.replace(report, pae_cutoff=10.0), tmp_path, ['scores']).paths,
  )
  ours, theirs = _strict(other.read_text()), _strict(usual)
  assert ours['ipsae_cutoff'] == 10 and 'ipsae_cutoff' not in theirs and ours['ipsae'] != theirs['ipsae']


def test_a_single_chain_has_no_interfaces_and_is_ranked_by_plddt(tmp_path):
  one = CASES['6A5J']
  assert one.interfaces == {} and one.chains == ('A',) and one.ranking_confidence == one.mean_plddt
  written = files.write(_report(one), tmp_path, ['interfaces_plot'])
  assert list(written.skipped) == ['job_ext_metrics.png'] and 'several chains' in written.skipped['job_ext_metrics.png']


def test_chains_have_the_names_that_they_were_given():
  prediction = _changed(CASES['homodimer and another'], chain_names=('H', 'L', '7'))
  assert [chain.name for chain in gemmi.read_pdb_string(pdb.to_pdb(prediction))[0]] == ['H', 'L', '7']
  assert [chain.name for chain in _gemmi_mmcif(mmcif.to_mmcif(prediction, 'test'))[0]] == ['H', 'L', '7']
  assert list(_changed(prediction_of('two'), chain_names=('heavy', 'L')).interfaces) == ['heavy-L']


def test_no_two_pairs_of_chains_have_one_key_whatever_their_names():
  named = _changed(prediction_of('many short'), chain_names=('A', 'B-C', 'A-B', 'C'))
  read = _strict(scores.scores_json(named))
  pairs = ['A - B-C', 'A - A-B', 'A-C', 'B-C - A-B', 'B-C - C', 'A-B - C']
  assert list(read['pdockq']) == list(read['interfaces']) == list(named.interfaces) == pairs
  assert len(read['ipsae']) == 12 and read['per_chain_ptm'].keys() == set(named.chains)


def test_pdb_refuses_names_of_chains_that_are_not_one_letter_and_mmcif_takes_them():
  prediction = _changed(CASES['homodimer and another'], chain_names=('heavy chain', 'AB', 'heavy_chain'))
  with pytest.raises(errors.InputError, match="chain 'heavy chain': its name is not one letter.*write mmCIF"):
    pdb.to_pdb(prediction)
  with pytest.raises(errors.InputError, match="chain 'AB'"):
    pdb.to_pdb(_changed(prediction, chain_names=('A', 'AB', 'C')))
  names = [chain.name for chain in _gemmi_mmcif(mmcif.to_mmcif(prediction, 'test'))[0]]
  assert names == ['heavy_chain_1', 'AB', 'heavy_chain']  # of which one was given
  whole = _changed(_made_up('G' * 30, [1] * 30), chain_names=tuple(map(record.chain_name, range(30))))
  assert pdb.to_pdb(whole) == pdb.to_pdb(_changed(whole, chain_names=()))  # the names that nobody gave


def test_mmcif_has_iptm_of_the_whole():
  block = _block(prediction_of('A2B'))
  metrics = {row[0]: row[1] for row in block.find('_ma_qa_metric.', ['id', 'type'])}
  overall = block.find('_ma_qa_metric_global.', ['metric_id', 'metric_value'])
  assert {metrics[row[0]]: float(row[1]) for row in overall}['ipTM'] == 0.25


def test_all_arrays_of_a_complex_are_saved_on_request(tmp_path):
  (path,) = _changed(prediction_of('two'), chain_names=('H', 'L')).save(tmp_path, formats=['all'])
  with np.load(path) as arrays:
    assert arrays['chain_tm'].shape == (53, 2, 3) and arrays['chain_names'].tolist() == ['H', 'L']
    assert arrays['iptm'] == np.float32(0.25)


def test_rows_of_a_complex_are_grouped_by_the_chains_that_they_cover():
  gap = residues.GAP
  tokens = np.array([
    [0, 1, 2, 3, 4], [gap, gap, 2, 3, 4], [0, 5, gap, gap, gap], [0, 1, 5, 3, 4], [0, 1, gap, gap, gap],
  ])  # fmt: skip
  rows = plots.grouped_rows(tokens, [2, 3])
  assert rows.ends == [2, 4]
  shown = np.nan_to_num(rows.identity, nan=-1).round().tolist()
  assert shown == [[100.0] * 5, [83] * 5, [100, 100, -1, -1, -1], [50, 50, -1, -1, -1], [-1, -1, 100, 100, 100]]
  assert plots.grouped_rows(tokens, [5]).ends == [] and plots.grouped_rows(tokens, ()).ends == []


@pytest.mark.parametrize('down', [False, True])
def test_names_of_chains_stand_apart_however_many_there_are(down):
  panel = drawing.Panel(drawing.Sheet(300, 300, 72), (30, 30, 290, 290), (0.5, 1400.5), (0.5, 1400.5))
  for lengths in ([20] * 70, [1] * 1400, [1, 1000, 398, 1], [700, 700]):
    names = [record.chain_name(i) for i in range(len(lengths))]
    found = chain_marks.named_ticks(panel, lengths, names, 8, down)
    places = panel.places(np.array([*found]), np.array([*found]))[:, int(down)]
    sizes = np.array([8 if down else panel.sheet.width(text, 8) for text in found.values()])
    assert (np.diff(places) >= (sizes[1:] + sizes[:-1]) / 2).all() and len(found) >= min(len(lengths), 10) / 2
    middles = dict(zip(names, np.cumsum(lengths) - (np.array(lengths) - 1) / 2))
    assert found == {middles[name]: name for name in found.values()}
  assert {'B', 'C'} <= set(chain_marks.named_ticks(panel, [1, 1000, 398, 1], 'ABCD', 8, down).values())


def test_lines_between_chains_never_hide_a_picture():
  for count in (2, 70, 300, 1400):
    sheet = drawing.Sheet(300, 300, 72)
    panel = drawing.Panel(sheet, (30, 30, 290, 290), (0.5, 1400.5), (0.5, 1400.5))
    chain_marks.divide(panel, [1400 // count] * count, across=True)
    dark = np.mean(np.asarray(sheet.image.convert('L')) < 128)
    assert dark < 0.5 and (dark > 0) == (count < 300)


def test_a_picture_names_chains_where_there_is_room_and_a_single_one_nowhere():
  one = prediction_of('two')
  single = _changed(one, asym_id=np.ones(53, int))
  for draw in (plots.pae, plots.plddt):
    named, other, none = (
      _drawn(draw, [which], ['a']) for which in (one, _changed(one, chain_names=('H', 'L')), single)
    )
    assert named.shape == other.shape == none.shape and (named != other).any() and (named != none).any()
