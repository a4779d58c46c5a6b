# SPDX-License-Identifier: Apache-2.0
"""What the header of a sequence says, where it is one of UniProt.

    sp|P01112|RASH_HUMAN GTPase HRas OS=Homo sapiens OX=9606 GN=HRAS PE=1 SV=1

The form: https://www.uniprot.org/help/fasta-headers; of accessions: https://www.uniprot.org/help/accession_numbers.
"""

import dataclasses
import re

_ACCESSION = r'[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2}'
_HEADER = re.compile(rf'(?:sp|tr)\|({_ACCESSION})(?:-(\d+))?\|(\w+)(?:\s+(.*))?', re.DOTALL)
_FIELD = re.compile(r'\s*\b(OS|OX|GN|PE|SV)=')


@dataclasses.dataclass(frozen=True)
class UniProtHeader:
  """An entry of UniProt as its FASTA header names it."""

  accession: str  # such as P01112
  entry: str  # such as RASH_HUMAN
  isoform: str | None = None  # such as P01112-2
  protein: str | None = None  # its name in words
  organism: str | None = None  # scientific name
  taxonomy: str | None = None  # NCBI's number
  gene: str | None = None

  @property
  def identifier(self) -> str:
    """The accession, with the isoform where there is one."""
    return self.isoform or self.accession


def of_uniprot(header: str) -> UniProtHeader | None:
  """What a header of UniProt says; None of any other."""
  if (found := _HEADER.fullmatch(' '.join(header.split()))) is None:
    return None
  accession, isoform, entry, words = found.groups()
  protein, *parts = _FIELD.split(words or '')
  fields = dict(zip(parts[::2], map(str.strip, parts[1::2])))
  return UniProtHeader(
    accession=accession,
    entry=entry,
    isoform=f'{accession}-{isoform}' if isoform else None,
    protein=protein.strip() or None,
    organism=fields.get('OS') or None,
    taxonomy=fields['OX'] if fields.get('OX', '').isdecimal() else None,
    gene=fields.get('GN') or None,
  )
