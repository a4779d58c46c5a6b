# SPDX-License-Identifier: Apache-2.0
"""Files that are often given in place of sequences: each is told by its content, and the message says what to do."""

import re

_AS_TEXT = 'save the sequences as plain text (UTF-8), in FASTA format'
_CONVERT = 'convert it to FASTA, or an alignment to A3M (reformat.pl of HH-suite, or Biopython)'
_ALIGNMENT = 'convert it to A3M (reformat.pl of HH-suite) with the protein first, or to Stockholm'
_UNPACK = 'unpack it, and give the files or folder in it'

_BINARY: tuple[tuple[bytes, bytes, str, str], ...] = (  # first bytes, bytes further on, what it is, what to do
  (b'PK\x03\x04', b'word/', 'a Word document', _AS_TEXT),
  (b'PK\x03\x04', b'xl/', 'an Excel workbook', 'save the sheet as CSV (UTF-8)'),
  (b'PK\x03\x04', b'opendocument', 'an OpenDocument file', _AS_TEXT),
  (b'PK\x03\x04', b'.npy', 'a NumPy archive', 'features of --msa-only are given with their suffix .npz'),
  (b'PK\x03\x04', b'', 'a zip archive', _UNPACK),
  (b'\xd0\xcf\x11\xe0', b'', 'a document of Microsoft Office', _AS_TEXT),
  (b'%PDF', b'', 'a PDF document', _AS_TEXT),
  (b'BZh', b'', 'compressed by bzip2', 'unpack it (bunzip2), or compress it with gzip'),
  (b'\xfd7zXZ', b'', 'compressed by xz', 'unpack it (unxz), or compress it with gzip'),
  (b'\x28\xb5\x2f\xfd', b'', 'compressed by zstd', 'unpack it (unzstd), or compress it with gzip'),
  (b'7z\xbc\xaf', b'', 'a 7z archive', _UNPACK),
  (b'Rar!', b'', 'a RAR archive', _UNPACK),
  (b'\x89PNG', b'', 'an image', _AS_TEXT),
  (b'\xff\xd8\xff', b'', 'an image', _AS_TEXT),
  (b'\x89HDF', b'', 'an HDF5 file', 'give sequences or alignments as text'),
  (b'\x80\x04', b'', 'a Python pickle', 'pickles are not opened, since that runs code; give the sequence or alignment'),
  (b'\x80\x05', b'', 'a Python pickle', 'pickles are not opened, since that runs code; give the sequence or alignment'),
)
_TEXTS: tuple[tuple[str, str, str], ...] = (  # pattern of the first lines, what it is, what to do
  (r'\{\\rtf', 'a rich-text document (RTF)', _AS_TEXT),
  (r'<!DOCTYPE html|<html|<head', 'a web page (HTML)', 'download the file itself, in FASTA format'),
  (r'<\?xml|<[a-zA-Z]+[ >]', 'XML', 'download it in FASTA format'),
  (r'LOCUS +\S', 'a GenBank flat file', _CONVERT),
  (r'ID   \S', 'an EMBL or Swiss-Prot flat file', _CONVERT),
  (r'CLUSTAL|MUSCLE \(|PROBCONS', 'an alignment of ClustalW', _ALIGNMENT),
  (r'!![AN]A_MULTIPLE|PileUp|[^\n]*\bMSF: *\d', 'an MSF alignment', _ALIGNMENT),
  (r'#NEXUS', 'a NEXUS file', _ALIGNMENT),
  (r'\d+[ \t]+\d+[ \t]*\r?\n', 'a PHYLIP alignment', _ALIGNMENT),
  (r'HHsearch \d|NAME .*\nFAM ', 'a profile of HH-suite (HHM)', 'give the alignment that it was made from'),
  (r'HMMER3/', 'a profile of HMMER', 'give the alignment that it was made from'),
  (r'Query +\S.*\nMatch_columns', 'a result of HHsearch (.hhr)', 'give the alignment that was searched with'),
  (r'T?BLAST[PNX]? \d|# T?BLAST', 'a result of BLAST', 'give the sequence, or an alignment'),
  (r'##gff', 'a GFF file', 'give the protein sequence in FASTA format'),
  (r'@[^\n]+\n[ACGTN]+\r?\n\+', 'a FASTQ file, the reads of a sequencer', 'give the protein sequence in FASTA format'),
  (r'version: *\d|sequences: *\n', 'the YAML input of another program', 'give the sequence in FASTA format'),
  (r'From:|Return-Path:', 'an e-mail', _AS_TEXT),
)
_PATTERNS = tuple((re.compile(rf'\s*(?:{pattern})'), what, remedy) for pattern, what, remedy in _TEXTS)


def foreign_bytes(content: bytes) -> str | None:
  """What a binary file is, and the remedy; None if its first bytes say nothing."""
  for first, further, what, remedy in _BINARY:
    if content.startswith(first) and further in content:
      return f'this is {what}; {remedy}'
  if content[257:262] == b'ustar':
    return 'this is a tar archive; unpack it (tar xf), and give the files or folder in it'
  return None


def foreign_text(text: str) -> str | None:
  """What a text is, and the remedy, if it is known and not read here; else None."""
  for pattern, what, remedy in _PATTERNS:
    if pattern.match(text):
      return f'this is {what}; {remedy}'
  return None
