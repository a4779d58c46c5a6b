# SPDX-License-Identifier: Apache-2.0
"""Alignments of complexes: paired, merged, read and written as the official programs do, in the given order."""

import dataclasses
import functools
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from alphafold.data import feature_processing, msa_identifiers, msa_pairing, parsers, pipeline, pipeline_multimer

from alphafold_jax.constants import residues
from alphafold_jax.data import complexes, features
from alphafold_jax.data.alignment import Alignment, parse_a3m, single_sequence
from alphafold_jax.data.chains import Chains
from alphafold_jax.data.complexes import (
  COLABFOLD,
  DEEPMIND,
  FOR_MONOMER_MODELS,
  ComplexAlignment,
  Merging,
  merge,
  merging,
  texts,
)
from alphafold_jax.data.complexes.alignments import rows_of
from alphafold_jax.data.complexes.pairing import pairs
from alphafold_jax.data.records import read_text
from alphafold_jax.data.stockholm import stockholm_to_a3m
from alphafold_jax.errors import InputError

DATA = Path(__file__).parent / 'data' / 'complexes'
TOXIN = DATA / '3g5o.a3m.gz'  # a heterodimer, ColabFold's own file: 15 pairs
HAEMOGLOBIN = DATA / 'haemoglobin.a3m.gz'  # A2B2: the first 150 pairs and 40 rows of each chain
PARTITION = DATA / '2q2k_uniprot.sto'  # 70 residues, rows of UniProt
HOMODIMER = '#10\t2\n>101\nMKTAYIAKQR\n>101\nMKTAYIAKQR\n>a\nMKTxxAY-AKQR\n>b\n--TAYIAKQR\n'  # as ColabFold writes it
LETTERS = 'ACDEFGHIKLMNPQRSTVWY'
SPECIES = ('HUMAN', 'MOUSE', 'YEAST', 'ECOLI', 'BACSU', 'ARATH', '9STAP')


# ------------------------------------------------------------------------------------------ AlphaFold's own


def random_a3m(rng: np.random.Generator, query: str, depth: int, species: Sequence[str] = ()) -> str:
  """A query and rows like it, of UniProt's names where species are given; no two rows are equal."""
  lines = ['>query', query]
  for i in range(depth):
    row = [letter if rng.random() < 0.6 else rng.choice([*LETTERS, '-']) for letter in query]
    row[0] = LETTERS[i % 20]
    row[1] = LETTERS[i // 20 % 20]
    row.insert(int(rng.integers(1, len(row))), 'g' * int(rng.integers(0, 3)))
    name = f'{i:05}X_{rng.choice(species)}' if species else f'row{i}'
    lines += [f'>tr|A0A{i:05}|A0A{name}/1-9 a protein' if species else f'>{name}', ''.join(row)]
  return '\n'.join(lines) + '\n'


def official(chains: Chains, unpaired: Mapping[str, str], uniprot: Mapping[str, str] | None) -> dict[str, np.ndarray]:
  """AlphaFold-Multimer's own features, from the A3M texts of each distinct chain."""
  kept = (*msa_pairing.MSA_FEATURES, 'msa_species_identifiers')
  by_chain = {}
  for name, sequence in zip(chains.names, chains.sequences, strict=True):
    raw = pipeline.make_sequence_features(sequence, 'x', len(sequence))
    raw |= pipeline.make_msa_features([parsers.parse_a3m(unpaired[sequence])])
    if uniprot:
      paired = pipeline.make_msa_features([parsers.parse_a3m(uniprot[sequence])])
      raw |= {f'{key}_all_seq': value for key, value in paired.items() if key in kept}
    by_chain[name] = pipeline_multimer.convert_monomer_features(raw, name)
  return feature_processing.pair_and_merge(pipeline_multimer.add_assembly_features(by_chain))


def ours(
  chains: Chains, unpaired: Mapping[str, str], uniprot: Mapping[str, str] | None, *, drop_duplicates: bool = True
) -> Alignment:
  """The same by this package."""
  read = functools.partial(parse_a3m, source='x', drop_duplicates=drop_duplicates)
  own = [read(unpaired[sequence]) for sequence in chains.distinct]
  if uniprot is None:
    return merge(ComplexAlignment(own, complexes.bare(chains.distinct).paired), chains, DEEPMIND)
  found = [read(uniprot[sequence]) for sequence in chains.distinct]
  return merge(complexes.paired_by_species(own, found, chains.copies), chains, DEEPMIND)


def grouped(chains: Chains) -> np.ndarray:
  """The residues in AlphaFold's order, which puts the copies of an entity side by side."""
  order = sorted(range(len(chains)), key=lambda i: chains.entities[i])
  return np.concatenate([np.arange(chains.num_res)[chains.spans[i]] for i in order])


def assert_equals_official(alignment: Alignment, chains: Chains, theirs: Mapping[str, np.ndarray]) -> None:
  order, batch = grouped(chains), features.make_batch(alignment)
  np.testing.assert_array_equal(alignment.tokens[:, order], theirs['msa'])
  np.testing.assert_array_equal(alignment.deletions[:, order], theirs['deletion_matrix'])
  for name in ('aatype', 'residue_index', 'entity_id', 'sym_id'):
    np.testing.assert_array_equal(getattr(batch, name)[order], theirs[name], err_msg=name)
  asym = list(zip(batch.asym_id[order], theirs['asym_id'], strict=True))
  assert len(set(asym)) == len(chains)
  assert theirs['msa_mask'].all() and batch.msa.mask.all() and theirs['cluster_bias_mask'].nonzero()[0].tolist() == [0]


@pytest.fixture
def stable(monkeypatch):
  """Makes the oracle sort stably, as DeepMind's newest program does and this release of it does not."""
  monkeypatch.setattr(pd.DataFrame, 'sort_values', functools.partialmethod(pd.DataFrame.sort_values, kind='stable'))
  monkeypatch.setattr(np, 'argsort', functools.partial(np.argsort, kind='stable'))


@pytest.mark.parametrize('form', ['AB', 'ABA', 'CBAB'])
def test_pairing_and_merging_equal_alphafolds(form, stable):
  rng = np.random.default_rng(len(form))
  sequences = {name: ''.join(rng.choice(list(LETTERS), size)) for name, size in (('A', 11), ('B', 8), ('C', 9))}
  chains = Chains(tuple(sequences[name] for name in form))
  unpaired = {sequence: random_a3m(rng, sequence, 12) for sequence in chains.distinct}
  uniprot = {sequence: random_a3m(rng, sequence, 30, SPECIES[i : i + 4]) for i, sequence in enumerate(chains.distinct)}
  repeated = uniprot[chains.distinct[0]].split('>')[-1].split('\n')[1]  # a row that is paired stands there unpaired too
  unpaired[chains.distinct[0]] += f'>again\n{repeated}\n'
  theirs = official(chains, unpaired, uniprot)
  assert_equals_official(ours(chains, unpaired, uniprot), chains, theirs)
  assert theirs['msa'].shape[0] > 25


@pytest.mark.parametrize('form', ['A', 'AA', 'AAAA'])
def test_copies_of_one_chain_are_side_by_side_and_dense(form):
  rng = np.random.default_rng(0)
  chains = Chains(('MKTAYIAKQR',) * len(form))
  unpaired = {'MKTAYIAKQR': random_a3m(rng, 'MKTAYIAKQR', 30)}
  alignment = ours(chains, unpaired, None)
  assert alignment.tokens.shape == (31, 10 * len(form))
  for span in chains.spans:
    np.testing.assert_array_equal(alignment.tokens[:, span], alignment.tokens[:, :10])
  theirs = official(chains, unpaired, None)
  np.testing.assert_array_equal(alignment.tokens, theirs['msa'])
  np.testing.assert_array_equal(alignment.deletions, theirs['deletion_matrix'])


def test_rows_are_cropped_where_alphafold_crops_them(stable, monkeypatch):
  monkeypatch.setattr(feature_processing, 'MSA_CROP_SIZE', 24)
  rng = np.random.default_rng(3)
  chains = Chains(('MKTAYIAKQR', 'GSHMEELQ', 'MKTAYIAKQR'))
  unpaired = {sequence: random_a3m(rng, sequence, 24) for sequence in chains.distinct}
  uniprot = {sequence: random_a3m(rng, sequence, 30, SPECIES) for sequence in chains.distinct}
  own = [parse_a3m(unpaired[sequence], 'x') for sequence in chains.distinct]
  found = [parse_a3m(uniprot[sequence], 'x') for sequence in chains.distinct]
  small = dataclasses.replace(DEEPMIND, max_paired=12, max_rows=24)
  alignment = merge(complexes.paired_by_species(own, found, chains.copies), chains, small)
  assert_equals_official(alignment, chains, official(chains, unpaired, uniprot))


def test_rows_of_uniprot_pair_by_their_species_as_alphafolds(stable):
  rows = parse_a3m(stockholm_to_a3m(read_text(PARTITION), 'x'), 'x', drop_duplicates=False)  # 18 of 22 are equal
  assert {'9STAP', 'STAAU', 'STAEP'} <= set(map(complexes.species, rows.names))
  texts = {}
  for span in (slice(0, 30), slice(30, 70)):  # real rows of two chains, here the halves of one
    letters = [''.join(residues.MSA_ALPHABET[token] for token in row[span]) for row in rows.tokens]
    texts[letters[0]] = ''.join(f'>{name}\n{row}\n' for name, row in zip(rows.names, letters, strict=True))
  chains = Chains(tuple(texts))
  theirs = official(chains, texts, texts)
  assert theirs['msa'].shape[0] > 20
  assert_equals_official(ours(chains, texts, texts, drop_duplicates=False), chains, theirs)


@pytest.mark.parametrize(
  'header',
  [
    'tr|A0A146SKV9|A0A146SKV9_FUNHE/4-90 [subseq from] x', 'sp|P0C2L1|A3X1_LOXLA', 'tr|A0A146SKV9_1|A0A146SKV9_FUNHE_2',
    'UniRef100_A0A146SKV9/1-2', 'sp|P0C2L1|A3X1_LOXLAX', 'sp|P0C2|A3X1_LOXLA', 'tr|A0A146SKV9|_FUNHE', 'query', '', ' ',
    'tr|A0A146SKV9|A0A146SKV9_FUNHE\tmore', 'tr|Ä0A146SKV9|A0A146SKV9_FUNHE', 'sp|P0C2L1|A3X1_LOX-A',
    '|||', '>sp|P0C2L1|A_B',
    'xx|P0C2L1|A3X1_LOXLA', 'sp|P0C2L1|A3X1_LOXLA_12|', 'sp|P0C2L1|A3X1_9STAP/1-2/3',
  ],
)  # fmt: skip
def test_the_species_of_a_row_is_alphafolds(header):
  assert complexes.species(header) == msa_identifiers.get_identifiers(header).species_id


def test_only_species_of_all_chains_are_paired_completely():
  rows = {'HUMAN': 'MKA', 'MOUSE': 'MAT'}
  first = parse_a3m('>q\nMKT\n' + ''.join(f'>sp|P0000{i}|A_{s}\n{r}\n' for i, (s, r) in enumerate(rows.items())), 'x')
  second = parse_a3m('>q\nGSH\n>sp|P00001|A_HUMAN\nGAH\n', 'x')
  third = parse_a3m('>q\nWWW\n>sp|P00001|A_HUMAN\nWAW\n>sp|P00002|A_MOUSE\nWWA\n', 'x')
  assert pairs([first, second, third], (1, 1, 1), 'greedy').tolist() == [[0, 0, 0], [1, 1, 1], [2, -1, 2]]
  assert pairs([first, second, third], (1, 1, 1), 'complete').tolist() == [[0, 0, 0], [1, 1, 1]]
  found = complexes.paired_by_species([first, second, third], [first, second, third], (1, 1, 1))
  assert (found.paired[1].tokens[2] == residues.GAP).all() and len(found.paired[0].tokens) == 3 and found.notes == ()


@pytest.mark.parametrize(('num_rows', 'num_pairs'), [(600, 1), (601, 0)])
def test_a_species_of_more_than_600_rows_is_not_paired(num_rows, num_pairs):
  rows = ''.join(f'>sp|P{i:05}|A_HUMAN\n{a}{b}\n' for i, (a, b) in enumerate(itertools.product(LETTERS, repeat=2)))
  many = parse_a3m(f'>q\nWW\n{rows}{rows}', 'x', drop_duplicates=False)
  many, one = rows_of(many, slice(1 + num_rows)), parse_a3m('>q\nGSH\n>sp|P00001|A_HUMAN\nGAH\n', 'x')
  assert len(pairs([many, one], (1, 1))) == len(pairs([one, many], (1, 1))) == 1 + num_pairs


def test_the_order_of_pairs_of_many_chains_does_not_overflow():
  rows = ''.join(f'>sp|P{i:05}|A_S{i}\nMKT\n' for i in range(3))
  deep = parse_a3m(f'>q\nMKT\n{rows}', 'x', drop_duplicates=False)
  assert pairs([deep] * 70, (1,) * 70)[:, 0].tolist() == [0, 1, 2, 3]


def test_pairing_that_finds_nothing_is_said_and_goes_on_unpaired():
  without, other = parse_a3m('>q\nMKT\n>UniRef90_X\nMAT\n', 'x'), parse_a3m('>q\nGSH\n>sp|P00001|A_HUMAN\nGAH\n', 'x')
  found = complexes.paired_by_species([without, other], [without, other], (1, 1))
  (note,) = found.notes
  assert 'nothing paired: no row of distinct chain 1 has a species in its name' in note
  assert merge(found, Chains(('MKT', 'GSH')), DEEPMIND).tokens.shape == (3, 6)
  mouse = parse_a3m('>q\nMKT\n>sp|P00001|A_MOUSE\nMAT\n', 'x')
  (note,) = complexes.paired_by_species([mouse, other], [mouse, other], (1, 1)).notes
  assert 'no species has rows of two chains' in note


# ------------------------------------------------------------------------------------------ merging


def small_complex() -> ComplexAlignment:
  """Two chains: two paired rows and one row of each alone."""
  return complexes.parse(
    '#3,2\t1,1\n>101\t102\nMKTAY\n>a\tb\nM-TA-\n>c\td\nMMMYY\n>101\nMKT--\n>u\nMKW--\n>102\n---AY\n>v\n---WY\n', 'x'
  )[1]


def test_chains_may_come_in_any_order():
  alignment = small_complex()
  for order in itertools.permutations(('MKT', 'AY', 'MKT')):
    chains = Chains(order)
    merged = merge(alignment, chains)
    assert merged.query == ''.join(order) and merged.lengths == chains.lengths
    first = {sequence: merged.tokens[:, span] for sequence, span in zip(order, chains.spans, strict=True)}
    a_first = order[0] == 'MKT'  # unpaired blocks follow the order of the chains
    rows = slice(3, None)
    np.testing.assert_array_equal(first['MKT'][:3], alignment.paired[0].tokens)
    block = first['MKT'][rows][:2] if a_first else first['MKT'][rows][2:]
    np.testing.assert_array_equal(block, alignment.unpaired[0].tokens)
    copies = [merged.tokens[:, span] for sequence, span in zip(order, chains.spans, strict=True) if sequence == 'MKT']
    np.testing.assert_array_equal(*copies)


@pytest.mark.parametrize(
  ('merging', 'rows'),
  [
    (COLABFOLD, ['MKTAY', 'M-TA-', 'MMMYY', 'MKT--', 'MKW--', '---AY', '---WY']),
    (DEEPMIND, ['MKTAY', 'M-TA-', 'MMMYY', 'MKW--', '---WY']),
    (Merging(max_paired=2, max_rows=3), ['MKTAY', 'M-TA-', 'MKT--', '---AY']),
  ],
)
def test_rows_are_taken_as_is_asked(merging, rows):
  assert_rows(merge(small_complex(), Chains(('MKT', 'AY')), merging), rows)


@pytest.mark.parametrize(
  ('kept', 'merging', 'rows'),
  [
    ('paired', COLABFOLD, ['MKTAY', 'M-TA-', 'MMMYY', 'MKT--', '---AY']),
    ('paired', DEEPMIND, ['MKTAY', 'M-TA-', 'MMMYY']),
    ('unpaired', COLABFOLD, ['MKTAY', 'MKT--', 'MKW--', '---AY', '---WY']),
  ],
)
def test_paired_rows_or_unpaired_ones_may_be_the_chains_alone(kept, merging, rows):
  assert_rows(merge(only(kept, small_complex()), Chains(('MKT', 'AY')), merging), rows)


def only(kept: str, alignment: ComplexAlignment) -> ComplexAlignment:
  """The alignments of which the paired rows, or the unpaired ones, are the chains alone."""
  other = {'paired': 'unpaired', 'unpaired': 'paired'}.get(kept)
  alone = {other: tuple(rows_of(one, slice(1)) for one in getattr(alignment, other))} if other else {}
  return dataclasses.replace(alignment, **alone)


def assert_rows(merged, rows):
  assert [''.join(residues.MSA_ALPHABET[token] for token in row) for row in merged.tokens] == rows
  assert len(merged.names) == len(rows) and merged.names[0] == '101\t102'


def test_a_row_that_repeats_a_paired_one_is_left_out_though_that_is_not_taken():
  text = '#3,2\t1,1\n>101\t102\nMKTAY\n>a\tb\nM-TA-\n>101\nMKT--\n>u\nM-T--\n>v\nMKW--\n'
  few = dataclasses.replace(DEEPMIND, max_paired=1)
  assert_rows(merge(complexes.parse(text, 'x')[1], Chains(('MKT', 'AY')), few), ['MKTAY', 'MKW--'])


def test_of_too_many_rows_each_chain_has_its_share(monkeypatch):
  monkeypatch.setattr(merging, 'MAX_ROWS', 5)  # after three paired ones
  merged = merge(small_complex(), Chains(('MKT', 'AY', 'MKT')))
  assert_rows(merged, ['MKTAYMKT', 'M-TA-M-T', 'MMMYYMMM', 'MKT--MKT', '---AY---'])


def test_what_was_noted_of_a_chains_alignment_is_noted_of_the_whole():
  noted = dataclasses.replace(parse_a3m('>q\nMKT\n', 'x'), notes=('one row left out',))
  alignment = ComplexAlignment((noted, single_sequence('AY')), complexes.bare(('MKT', 'AY')).paired, ('not paired',))
  assert merge(alignment, Chains(('MKT', 'AY'))).notes == ('not paired', 'one row left out')


def test_a_hundred_copies_are_as_deep_as_one_and_side_by_side():
  chain = parse_a3m('>q\nMKT\n>a\nM-T\n', 'x')
  alignment = ComplexAlignment((chain,), complexes.bare(('MKT',)).paired)
  merged = merge(alignment, Chains(('MKT',) * 100), DEEPMIND)
  np.testing.assert_array_equal(merged.tokens, np.tile(chain.tokens, 100))
  assert merge(alignment, Chains(('MKT',) * 100), FOR_MONOMER_MODELS).tokens.shape == (201, 300)


def test_chains_without_homologues_are_three_rows_as_in_colabfold_and_one_as_in_alphafold():
  alignment, chains = complexes.bare(('MKT', 'AY')), Chains(('MKT', 'AY'))
  assert merge(alignment, chains).tokens.shape == (3, 5) and merge(alignment, chains, DEEPMIND).tokens.shape == (1, 5)


def test_alignments_that_do_not_fit_are_refused():
  one, two, other = parse_a3m('>q\nMKT\n>a\nMAT\n', 'x'), parse_a3m('>q\nAY\n', 'x'), parse_a3m('>q\nGG\n', 'x')
  with pytest.raises(InputError, match=r'numbers of rows: 2 rows of chain 1 \(MKT...\), 1 row of chain 2 \(AY...\)'):
    ComplexAlignment((one, two), (one, two))
  with pytest.raises(InputError, match='the paired alignment of chain 2 does not begin with the chain, AY'):
    ComplexAlignment((one, two), (single_sequence('MKT'), other))
  with pytest.raises(InputError, match='alignments of one chain twice'):
    ComplexAlignment((one, one), (one, one))
  with pytest.raises(InputError, match='no alignment of chain B; it has chains of 3, 2 residues'):
    merge(complexes.bare(('MKT',)), Chains(('MKT', 'AY')))
  with pytest.raises(InputError, match='alignments of chains that the complex lacks'):
    merge(complexes.bare(('MKT', 'AY')), Chains(('MKT', 'MKT')))
  with pytest.raises(InputError, match="pair_strategy='best': must be one of greedy, complete"):
    pairs([one, two], (1, 1), 'best')


# ------------------------------------------------------------------------------------------ ColabFold's A3M


def digest(tokens: np.ndarray, deletions: np.ndarray) -> str:
  """The first digits of a digest of two arrays."""
  state = hashlib.sha256(np.ascontiguousarray(tokens, np.int32).tobytes())
  state.update(np.ascontiguousarray(deletions, np.float32).tobytes())
  return state.hexdigest()[:16]


COLABFOLDS = (  # file, which rows, how, number of rows and digest of ColabFold's own features
  (TOXIN, 'both', COLABFOLD, 175, '7cd18d68af05f9ab'),
  (TOXIN, 'unpaired', COLABFOLD, 161, '3c7190853ee8b258'),
  (TOXIN, 'paired', COLABFOLD, 17, 'ee780b1e79cc0561'),
  (TOXIN, 'both', FOR_MONOMER_MODELS, 175, '7cd18d68af05f9ab'),
  (HAEMOGLOBIN, 'both', COLABFOLD, 231, '417f08747d053b31'),
  (HAEMOGLOBIN, 'unpaired', COLABFOLD, 81, '0b5d77fb2619f5ca'),
  (HAEMOGLOBIN, 'paired', COLABFOLD, 153, '2874abe264a0910c'),
  (HAEMOGLOBIN, 'both', FOR_MONOMER_MODELS, 311, '89564bd63ccb62ac'),
  (HOMODIMER, 'both', COLABFOLD, 3, '0dfbcc2a939e01f3'),
  (HOMODIMER, 'both', FOR_MONOMER_MODELS, 7, '3d3034ef57221515'),
)


@pytest.mark.parametrize(('file', 'kept', 'merging', 'num_rows', 'recorded'), COLABFOLDS)
def test_the_features_of_a_file_equal_colabfolds(file, kept, merging, num_rows, recorded):
  """Recorded with colabfold 1.6.3 (installed with --no-deps beside alphafold-colabfold 2.3.20).

      from colabfold.batch import generate_input_feature, unserialize_msa
      unpaired, paired, chains, copies, templates = unserialize_msa([text], '')
      feature, _ = generate_input_feature(
        chains, copies, unpaired, paired, templates, True, 'alphafold2_multimer_v3', 508)

  and the digest of the first `num_alignments` rows of `msa` and `deletion_matrix`; for pairs alone `unpaired` is None,
  for unpaired rows alone `paired` is f'>101\\n{chain}\\n' of each chain, and for models of single chains the type is
  'alphafold2_ptm', whose tokens were put into the network's order and whose first row, the chains once more, left out.
  """
  chains, alignment = complexes.parse(read_text(file) if isinstance(file, Path) else file, 'x')
  merged = merge(only(kept, alignment), chains, merging)
  assert (len(merged.tokens), digest(merged.tokens, merged.deletions)) == (num_rows, recorded)


@pytest.mark.parametrize(('file', 'copies'), [(TOXIN, (1, 1)), (HAEMOGLOBIN, (2, 2)), (HOMODIMER, (2,))])
def test_a_file_of_colabfold_is_written_as_it_was_read(file, copies):
  text = read_text(file) if isinstance(file, Path) else file
  chains, alignment = complexes.parse(text, 'x')
  assert chains.copies == copies
  written = complexes.as_text(alignment, chains)
  as_x = '\n'.join(line if line[:1] in '>#' else re.sub('[a-z]', 'x', line) for line in text.splitlines())
  assert written == as_x + '\n'
  again = complexes.parse(written, 'x')[1]
  for first, second in zip((*alignment.unpaired, *alignment.paired), (*again.unpaired, *again.paired), strict=True):
    assert digest(first.tokens, first.deletions) == digest(second.tokens, second.deletions)


SMALL = '#3,2\t2,1\n>101\t102\nMKTAY\n>a\tb\nM-TA-\n>101\nMKT--\n>u\nM-T--\n>v\nMKW--\n>102\n---AY\n'


@pytest.mark.parametrize(
  ('order', 'field'),
  [
    (('MKT', 'MKT', 'AY'), ''),
    (('MKT', 'AY', 'MKT'), '\torder=101,102,101'),
    (('AY', 'MKT', 'MKT'), '\torder=102,101,101'),
  ],
)
def test_the_order_of_chains_survives_where_colabfold_does_not_look(order, field):
  """All else is as in ColabFold's file; of the header of a paired row it takes as many fields as there are chains.

  So `unserialize_msa` of colabfold 1.5.5 and 1.6.3 gives the same for both texts.
  """
  alignment = complexes.parse(SMALL, 'x')[1]
  text = complexes.as_text(alignment, Chains(order))
  assert text == SMALL.replace('>101\t102', f'>101\t102{field}')
  chains, again = complexes.parse(text, 'x')
  assert chains.sequences == order and complexes.as_text(again, chains) == text
  np.testing.assert_array_equal(merge(again, chains).tokens, merge(alignment, chains).tokens)


@pytest.mark.parametrize('named', ['101,102', '101,102,102', '101,101,102,103', '101,103,101', ''])
def test_an_order_of_other_chains_is_refused_with_its_place(named):
  with pytest.raises(InputError, match=rf"f.a3m, line 2: 'order={named}' is not the order of the chains that '#3,2"):
    complexes.parse(SMALL.replace('>101\t102', f'>101\t102\torder={named}'), 'f.a3m')


def test_rows_that_alphafold_leaves_out_do_not_come_back_from_a_file():
  chains, alignment = complexes.parse(SMALL, 'x')
  text = complexes.as_text(dataclasses.replace(alignment, drop_repeats=True), chains)
  assert text == SMALL.replace('>101\t102', '>101\t102\trepeats=no')
  again = complexes.parse(text, 'x')[1]
  as_deepmind = merge(alignment, chains, DEEPMIND).tokens
  np.testing.assert_array_equal(merge(again, chains).tokens, as_deepmind)
  assert len(as_deepmind) == 3 < len(merge(alignment, chains).tokens)
  for_monomers = [merge(one, chains, FOR_MONOMER_MODELS).tokens for one in (alignment, again)]
  np.testing.assert_array_equal(*for_monomers)  # as ever


def test_alignments_of_chains_are_the_same_after_they_were_arrays():
  chains, alignment = complexes.parse(read_text(HAEMOGLOBIN), 'x')
  arrays = complexes.to_arrays(dataclasses.replace(alignment, drop_repeats=True))
  again = complexes.from_arrays(arrays, 'x')
  assert again.drop_repeats and complexes.as_text(dataclasses.replace(again, drop_repeats=False), chains) == (
    complexes.as_text(alignment, chains)
  )
  for name in ('about', 'paired.1.tokens', 'unpaired.0.deletions'):
    for change in ({}, {name: arrays[name][:-1]}):
      damaged = {key: array for key, array in arrays.items() if key != name} | change
      with pytest.raises(InputError, match='f.npz: its alignments of chains .*; make the features again'):
        complexes.from_arrays(damaged, 'f.npz')


def test_insertions_between_chains_belong_to_neither_of_two_and_to_the_one_that_is_there():
  text = '#3,2\t1,1\n>101\t102\nMKTAY\n>a\tb\nMgKTgggAgY\n>101\nMKT--\n>u\nMKTgg--\n>102\n---AY\n>v\n---ggAY\n'
  alignment = complexes.parse(text, 'x')[1]
  assert [one.deletions[1].tolist() for one in alignment.paired] == [[0, 1, 0], [0, 1]]
  assert [one.deletions[1].tolist() for one in alignment.unpaired] == [[0, 0, 0], [2, 0]]


def test_nul_bytes_wrapped_lines_and_repeated_records_change_nothing():
  text = '#3,2\t1,1\n>101\t102\nMKTAY\n>a\tb\nM-TA-\n>101\nMKT--\n>u\nMKW--\n>102\n---AY\n'
  untidy = text.replace('>101\nMKT', '\0>101\nM\nKT').replace('M-TA-', 'M-\n TA-') + '\0>u\nMKW--\n>x\n-----\n'
  (chains, tidy), (same, read) = complexes.parse(text, 'x'), complexes.parse(untidy.replace('\n', '\r\n'), 'x')
  assert chains == same and complexes.as_text(read, chains) == complexes.as_text(tidy, chains)
  assert read.notes == ('1 duplicate row left out', '1 row of gaps alone left out')


def test_a_homo_oligomer_has_no_pairs_and_a_file_may_lack_rows_of_a_chain():
  chains, alignment = complexes.parse('#3\t2\n>101\nMKT\n>101\nMKT\n>a\nM-T\n', 'x')
  assert chains.sequences == ('MKT', 'MKT') and len(alignment.paired[0].tokens) == 1
  assert merge(alignment, chains).tokens.shape == (2, 6)
  chains, alignment = complexes.parse('#3,2\t1,1\n>101\t102\nMKTAY\n>a\tb\nM--A-\n', 'x')
  assert [len(one.tokens) for one in (*alignment.unpaired, *alignment.paired)] == [1, 1, 2, 2]
  assert complexes.parse('>q\nMKT\n>a\nM-T\n', 'x')[0].sequences == ('MKT',)


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    (
      '#3,4\t1,1\n>q\nMKTAY\n',
      r"line 1: '#3,4\\t1,1' announces 3 \+ 4 = 7 residues, but the query \(first row\) has 5",
    ),
    ('#3,2\t1\n>q\nMKTAY\n', 'has 2 lengths and 1 numbers of copies; write one of each'),
    ('#3,0\t1,1\n>q\nMKT\n', 'has a 0 in it'),
    ('#3\t100000000000000000000\n>q\nMKT\n', 'announces 1,000,000,000 chains; at most 1,000'),
    ('#3,3\t1,1\n>q\nMKTMKT\n', 'its chains 1 and 2 are one and the same; write such a chain once'),
    ('#3,2\t1,1\n#3,2\t2,1\n>q\nMKTAY\n', r"line 2: '#3,2\\t2,1', but line 1 is '#3,2\\t1,1'"),
    ('#3,2\t1,1\n>q\nMKTAY\n>a\nMKT\n', "line 4: record 'a' has 3 aligned columns, expected 5"),
    ('#3,2\t1,1\n>q\nMKT--\n', "line 3, column 4: '-' in record 'q' is a gap in the query"),
  ],
)
def test_a_line_that_does_not_fit_its_rows_is_refused_with_its_place(text, message):
  with pytest.raises(InputError, match=message):
    complexes.parse(text, 'f.a3m')


def test_a_paired_row_with_one_name_is_called_so_in_all_chains():
  alignment = complexes.parse('#3,2\t1,1\n>101\t102\nMKTAY\n>both\nM-TA-\n>a\tb\nMMMYY\n', 'x')[1]
  assert [one.names[1:] for one in alignment.paired] == [('both', 'a'), ('both', 'b')]


def test_a_row_of_gaps_of_a_single_chain_stays():
  alignment = complexes.parse('#3\t2\n>101\nMKT\n>a\n---\n', 'x')[1]
  assert len(alignment.unpaired[0].tokens) == 2 and alignment.notes == ()


def test_a_name_with_line_ends_stays_one_line():
  row = dataclasses.replace(parse_a3m('>q\nMKT\n>a\nM-T\n', 'x'), names=('q', 'a\r\n>b\0c'))
  text = complexes.as_text(ComplexAlignment((row,), complexes.bare(('MKT',)).paired), Chains(('MKT', 'MKT')))
  assert text == '#3\t2\n>101\nMKT\n>101\nMKT\n>a >b c\nM-T\n'


def test_alignments_of_other_chains_are_not_written():
  with pytest.raises(InputError, match='alignments of 1 chains, and a complex of 2 others'):
    complexes.as_text(complexes.bare(('MKT',)), Chains(('MKT', 'AY')))


@pytest.mark.parametrize(
  ('unpaired', 'is_noted'), [(None, False), ('', False), ('>q\nMKT\n>a\nMKA\n', False), ('>q\nMKT\n>b\nMKW\n', True)]
)
def test_of_copies_the_first_ones_alignment_counts_and_that_others_differ_is_noted(unpaired, is_noted):
  first = texts.ChainTexts('MKT', 1, 'chain A', '>q\nMKT\n>a\nMKA\n')
  found = complexes.of_texts([first, first._replace(place='chain B', unpaired=unpaired)])
  note = 'chain B: its alignment not used, that of the same sequence before is'
  assert found.notes == ((note,) if is_noted else ()) and found.unpaired[0].names == ('q', 'a')
