# SPDX-License-Identifier: Apache-2.0
"""The databases that AlphaFold and ColabFold are run with, and where their publishers offer them.

Sources: the download scripts and README of AlphaFold 2.3.2, and setup_databases.sh of ColabFold. Sizes are those stated
there or by the servers in 2026; publishers state no digests, see `download`.
"""

import dataclasses
from pathlib import Path

from alphafold_jax.errors import InputError
from alphafold_jax.naming import Names, did_you_mean
from alphafold_jax.search.databases import FASTA, HHSUITE, MMSEQS, Database

_UNIREF = 'https://ftp.ebi.ac.uk/pub/databases/uniprot/uniref'
_UNIPROT = 'https://ftp.ebi.ac.uk/pub/databases/uniprot/current_release/knowledgebase/complete'
_ALPHAFOLD = 'https://storage.googleapis.com/alphafold-databases'
_BFD = f'{_ALPHAFOLD}/reduced_dbs/bfd-first_non_consensus_sequences.fasta.gz'
_PDB = 'https://files.wwpdb.org/pub/pdb/derived_data'
_COLABFOLD = 'https://opendata.mmseqs.org/colabfold'
_UNIREF30, _ENVDB = f'{_COLABFOLD}/uniref30_2302.db.tar.gz', f'{_COLABFOLD}/colabfold_envdb_202108.db.tar.gz'
_HHSUITE = 'https://wwwuser.gwdg.de/~compbiol/data/hhsuite/databases/hhsuite_dbs/old-releases'
_PDB70 = f'{_HHSUITE}/pdb70_from_mmcif_200401.tar.gz'
_CC_BY, _CC0 = 'CC BY 4.0', 'CC0 1.0'
_HHSUITE_TERMS, _COLABFOLD_TERMS = 'see https://github.com/soedinglab/hh-suite', 'see https://colabfold.mmseqs.com'


@dataclasses.dataclass(frozen=True)
class StandardSet:
  """One database as its publisher offers it."""

  name: str
  url: str
  num_bytes: int  # of the download, about
  role: str
  licence: str
  kind: str = FASTA
  prefix: str | None = None  # what the database's files in an archive begin with; None: the download is the database
  unpacked_bytes: int | None = None  # of an archive, about; None where nobody states it
  sha256: str | None = None  # where it is known
  changes: bool = False  # the publisher replaces it under the same address

  @property
  def file(self) -> str:
    """Name of the download."""
    return self.url.rpartition('/')[2]

  @property
  def room(self) -> int:
    """Bytes on the disk that getting it takes: the download, and beside it at least as much for what is in it."""
    return self.num_bytes + (0 if self.prefix is None else self.unpacked_bytes or self.num_bytes)

  def database(self, folder: Path) -> Database:
    """The database once it is in a folder."""
    return Database(self.role, folder / (self.prefix or self.file), self.kind)


_SETS = (
  StandardSet('uniref90', f'{_UNIREF}/uniref90/uniref90.fasta.gz', 34_000_000_000, 'uniref90', _CC_BY, changes=True),
  StandardSet('mgnify', f'{_ALPHAFOLD}/v2.3/mgy_clusters_2022_05.fa.gz', 67_000_000_000, 'mgnify', _CC0),
  StandardSet('small_bfd', _BFD, 9_600_000_000, 'small_bfd', 'CC BY-SA 4.0'),
  StandardSet('uniprot_trembl', f'{_UNIPROT}/uniprot_trembl.fasta.gz', 53_000_000_000, 'uniprot', _CC_BY, changes=True),
  StandardSet('uniprot_sprot', f'{_UNIPROT}/uniprot_sprot.fasta.gz', 100_000_000, 'uniprot', _CC_BY, changes=True),
  StandardSet('pdb_seqres', f'{_PDB}/pdb_seqres.txt', 200_000_000, 'pdb_seqres', _CC0, changes=True),
  StandardSet('pdb70', _PDB70, 19_500_000_000, 'pdb70', _HHSUITE_TERMS, HHSUITE, 'pdb70', 56_000_000_000),
  StandardSet('uniref30', _UNIREF30, 106_729_528_496, 'uniref30', _COLABFOLD_TERMS, MMSEQS, 'uniref30_2302_db'),
  StandardSet('envdb', _ENVDB, 128_500_000_000, 'env', _COLABFOLD_TERMS, MMSEQS, 'colabfold_envdb_202108_db'),
  StandardSet('pdb100', f'{_COLABFOLD}/pdb100_230517.fasta.gz', 28_432_889, 'pdb100', _COLABFOLD_TERMS),
)
STANDARD_SETS = {one.name: one for one in _SETS}


def find_set(name: str) -> StandardSet:
  """The set of a name, in any case; InputError if there is none."""
  if (meant := Names(STANDARD_SETS).meant(name)) is None:
    choices = f'choose {", ".join(STANDARD_SETS)}{did_you_mean(name, STANDARD_SETS)}'
    raise InputError(f'{name!r} is not a standard database; {choices}')
  return STANDARD_SETS[meant]
