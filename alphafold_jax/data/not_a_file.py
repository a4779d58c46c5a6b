# SPDX-License-Identifier: Apache-2.0
"""What a person meant who gave, in place of a file, a sequence, an entry or an address.

Nothing is downloaded: the message says where the file is.
"""

import re

_UNIPROT = r'[OPQ]\d[A-Z\d]{3}\d|[A-NR-Z]\d(?:[A-Z][A-Z\d]{2}\d){1,2}'
_REST = 'https://rest.uniprot.org'
_NCBI = 'https://eutils.ncbi.nlm.nih.gov/entrez/eutils/efetch.fcgi?db=protein&rettype=fasta&id='
_ENTRIES: tuple[tuple[str, str, str], ...] = (  # pattern, what it names, where its FASTA file is
  (rf'(?:AF-)({_UNIPROT})(?:-\d+)?-F\d+(?:-\w+)?', 'the AlphaFold database', f'{_REST}/uniprotkb/{{}}.fasta'),
  (
    rf'(?:sp\||tr\||UniProt:)?((?:{_UNIPROT})(?:-\d+)?)(?:\|\w*)?',
    'UniProt',
    f'{_REST}/uniprotkb/{{}}.fasta',
  ),
  (r'((?-i:[A-Z\d]{1,10}_[A-Z\d]{3,5}))', 'UniProt', f'{_REST}/uniprotkb/{{}}.fasta'),
  (r'(UniRef(?:100|90|50)_\w+)', 'UniRef', f'{_REST}/uniref/{{}}.fasta'),
  (r'(UPI[A-F\d]{10})', 'UniParc', f'{_REST}/uniparc/{{}}.fasta'),
  (r'(pdb_0000[\dA-Z]{4})(?:[_:.-]\w{1,4})?', 'the PDB', 'https://www.rcsb.org/fasta/entry/{}'),
  (r'((?!\d{4})\d[\dA-Z]{3})(?:[_:.-]\w{1,4})?', 'the PDB', 'https://www.rcsb.org/fasta/entry/{}'),
  (r'([ANXYW]P_\d{6,9}(?:\.\d+)?)', 'RefSeq', f'{_NCBI}{{}}'),
  (r'([A-Z]{3}\d{5,7}\.\d+)', 'GenBank', f'{_NCBI}{{}}'),
  (
    r'(ENS[A-Z]*P\d{11})(?:\.\d+)?',
    'Ensembl',
    'https://rest.ensembl.org/sequence/id/{}?content-type=text/x-fasta',
  ),
)
_FAMILIES = (
  (r'PF\d{5}', 'Pfam', 'https://www.ebi.ac.uk/interpro/entry/pfam/{}/protein/UniProt/'),
  (r'IPR\d{6}', 'InterPro', 'https://www.ebi.ac.uk/interpro/entry/InterPro/{}/protein/UniProt/'),
)
_LETTERS = re.compile(r'[A-Za-z\s]+\*?')
_CHAINS = re.compile(r'[A-Za-z\s]+(?::[A-Za-z\s]+)+')
_SHORTEST, _SHORTEST_LOWER = 8, 25  # letters that are taken for a sequence, and not for a word


def advice(given: str) -> str | None:
  """What to do where a text was given that names no file; None if it reads like a path."""
  text = given.strip()
  if text.startswith('>'):
    return 'is the text of a FASTA file, not its name; write it into a file, such as name.fasta'
  if _is_sequence(text):
    sequence = ''.join(text.split())
    return (
      f'reads like a sequence of {len(sequence.rstrip("*"))} letters, and there is no such file; write it into one:\n'
      f"  printf '>name\\n{_short(text)}\\n' > name.fasta"
    )
  if _CHAINS.fullmatch(text) and len(text) > _SHORTEST:
    return (
      'reads like the chains of a complex, and there is no such file; write them into one:\n'
      f"  printf '>name\\n{_short(text)}\\n' > name.fasta"
    )
  if text == '-':
    return 'an input is read more than once, so it cannot come through a pipe; write it into a file'
  if re.match(r'(https?|ftp)://', text):
    return f"an address, and nothing is downloaded; do so first:\n  curl -L -O '{text}'"
  if re.search(r'[*?\[]', text):
    return 'no file matches; give one file, or the folder that holds them'
  return _entry(text)


def _entry(text: str) -> str | None:
  """What to do about an entry of a public database."""
  for pattern, what, address in _ENTRIES:
    if found := re.fullmatch(pattern, text, re.IGNORECASE):
      name = found[1] if found[1].startswith('UniRef') else found[1].upper()
      if name.startswith('PDB_'):
        name = found[1].lower()
      return (
        f'no such file; it reads like an entry of {what}, and nothing is downloaded. Fetch its sequence, '
        f"then give {name}.fasta:\n  curl -L -o {name}.fasta '{address.format(name)}'"
      )
  for pattern, what, address in _FAMILIES:
    if re.fullmatch(pattern, text, re.IGNORECASE):
      return (
        f'no such file; it reads like a family of {what}, which is many proteins. Choose one of '
        f'{address.format(text.upper())} and give its sequence as FASTA'
      )
  return None


def _short(text: str) -> str:
  """A sequence as it is shown in a command."""
  sequence = ''.join(text.split())
  return sequence if len(sequence) <= 60 else f'{sequence[:20]}...'


def _is_sequence(text: str) -> bool:
  if not _LETTERS.fullmatch(text):
    return False
  letters = ''.join(text.split()).rstrip('*')
  if letters.isupper():
    return len(letters) >= _SHORTEST
  return len(letters) >= _SHORTEST_LOWER and ' ' not in text
