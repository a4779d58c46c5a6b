# SPDX-License-Identifier: Apache-2.0
"""What was modelled, in ModelCIF: entities with their source and their entry of UniProt, and the chains of them.

A header is taken at its word: its entry is the whole sequence, from residue 1. Proteins are natural unless their origin
is `designed`. Of `_ma_target_entity.origin` the dictionary (1.4.9) knows `reference database` and `designed` alone, so
that a natural protein without an entry has '.' there, and `nat` as `_entity.src_method`.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ihm
import ihm.source
import modelcif
import modelcif.dumper
import modelcif.reference

from alphafold_jax.choices import DESIGNED
from alphafold_jax.headers import UniProtHeader, of_uniprot
from alphafold_jax.output.provenance import Provenance
from alphafold_jax.output.record import Residue


def asym_units(
  chains: Sequence[Sequence[Residue]], names: Sequence[str], description: str, provenance: Provenance
) -> list[modelcif.AsymUnit]:
  """One unit per chain; chains of one sequence share its entity.

  Args:
    chains: the residues of each.
    names: of the chains.
    description: of entities that no header describes.
    provenance: has the headers.
  """
  components = {component.id: component for component in ihm.LPeptideAlphabet().values}
  sequences = [tuple(residue.name for residue in chain) for chain in chains]
  of_sequence = _headers(sequences, provenance)
  entities = {}
  for sequence in dict.fromkeys(sequences):
    parts = [components[name] for name in sequence]
    entities[sequence] = _entity(parts, of_sequence.get(sequence), description, provenance.origin)
  units = []
  for chain_id, chain, sequence in zip(identifiers(names), chains, sequences, strict=True):
    numbers = {number: residue.number for number, residue in enumerate(chain, start=1)}
    units.append(modelcif.AsymUnit(entities[sequence], auth_seq_id_map=numbers, id=chain_id))
  return units


def _headers(sequences: Sequence[tuple[str, ...]], provenance: Provenance) -> dict[tuple[str, ...], UniProtHeader]:
  """The entry of UniProt of each distinct sequence that has one.

  A header of a complex whose chains differ says of none of them what it is.
  """
  headers = provenance.headers
  if len(headers) == 1 and len(set(sequences)) == 1:
    headers = headers * len(sequences)
  if len(headers) != len(sequences):
    return {}
  found = ((sequence, of_uniprot(header)) for sequence, header in zip(sequences, headers))
  return {sequence: entry for sequence, entry in reversed(list(found)) if entry is not None}


def _entity(parts: list[Any], entry: UniProtHeader | None, description: str, origin: str) -> modelcif.Entity:
  if origin == DESIGNED:
    return modelcif.Entity(parts, description=description, source=ihm.source.Synthetic())
  if entry is None:
    return modelcif.Entity(parts, description=description, source=ihm.source.Natural())
  return modelcif.Entity(
    parts,
    description=ascii_only(entry.protein or entry.entry),
    source=ihm.source.Natural(ncbi_taxonomy_id=entry.taxonomy, scientific_name=_ascii_or_none(entry.organism)),
    references=[_UniProtEntry(entry, ''.join(one.code_canonical for one in parts))],
  )


class _UniProtEntry(modelcif.reference.UniProt):
  """An entry with its gene, which the library does not write."""

  def __init__(self, entry: UniProtHeader, sequence: str):
    super().__init__(
      entry.entry,
      entry.accession,
      isoform=entry.isoform,
      ncbi_taxonomy_id=entry.taxonomy,
      organism_scientific=_ascii_or_none(entry.organism),
      sequence=sequence,
    )
    self.is_primary = True  # older versions of the library do not know it
    self.gene = _ascii_or_none(entry.gene)


def identifiers(names: Sequence[str]) -> list[str]:
  """Names of chains as CIF codes: those that are one stay, others get other characters and a number where one is taken.

  ('a_b', 'a b', 'β') -> ['a_b', 'a_b_1', '_'].
  """
  codes = [re.sub(r'[^A-Za-z0-9_-]', '_', name) for name in names]
  taken = {name for name, code in zip(names, codes) if name == code}
  for i, (name, code) in enumerate(zip(names, codes)):
    if name != code:
      codes[i] = next(one for k in itertools.count() if (one := f'{code}_{k}' if k else code) not in taken)
      taken.add(codes[i])
  return codes


def ascii_only(text: str) -> str:
  """A text in one line, in letters that the library writes so that it can be read back."""
  line = ' '.join(text.encode('ascii', 'replace').decode().split())
  if "'" in line:
    line = line.replace('"', "'")  # both would be escaped, which CIF does not know
  return f'{line} ' if line[:1] in ('#', '$', ';') else line  # with a space it is put in quotes


def _ascii_or_none(text: str | None) -> str | None:
  return text and ascii_only(text)


# ------------------------------------------------------------------------------------------ what the library leaves out


class Variant(modelcif.dumper.ModelCIFVariant):
  """ModelCIF as the library writes it, with the gene of each entry, and without calling natural proteins designed."""

  def get_system_writer(self, system: Any, writer_class: Any, writer: Any) -> Any:
    """See `ihm.dumper.Variant`."""
    return _CompletingWriter(super().get_system_writer(system, writer_class, writer), system)


class _CompletingWriter:
  """A writer of CIF that changes the rows of two categories."""

  def __init__(self, writer: Any, system: modelcif.System):
    genes = {entry.accession: entry.gene for entity in system.entities for entry in entity.references}
    designed = {isinstance(entity.source, ihm.source.Synthetic) for entity in system.entities} == {True}
    self._writer = writer
    self._completed: dict[str, tuple[tuple[str, ...], Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
      '_ma_target_ref_db_details': (('gene_name',), lambda row: {'gene_name': genes.get(row['db_accession'])}),
      '_ma_target_entity': (
        (),
        lambda row: {'origin': None} if row['origin'] == 'designed' and not designed else {},
      ),
    }

  def __getattr__(self, name: str) -> Any:
    return getattr(self._writer, name)

  def loop(self, category: str, keys: Sequence[str]) -> Any:
    if category not in self._completed:
      return self._writer.loop(category, keys)
    more, complete = self._completed[category]
    return _CompletedRows(self._writer.loop(category, [*keys, *more]), complete)


class _CompletedRows:
  """The rows of a category, each with what is added to it."""

  def __init__(self, rows: Any, complete: Callable[[Mapping[str, Any]], dict[str, Any]]):
    self._rows, self._complete = rows, complete

  def __enter__(self) -> '_CompletedRows':
    self._written = self._rows.__enter__()
    return self

  def __exit__(self, *error: Any) -> Any:
    return self._rows.__exit__(*error)

  def write(self, **row: Any) -> None:
    self._written.write(**row | self._complete(row))
