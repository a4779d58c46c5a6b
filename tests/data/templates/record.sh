#!/bin/sh
# Records what Debian's hmmer 3.3.2 says of examples/database/pdb_seqres_sample.txt, with AlphaFold 2.3.2's settings.
#   sh tests/data/templates/record.sh ALIGNMENTS
# ALIGNMENTS: folder with 4zey_A/uniref90_hits.sto and 3u8v_A/uniref90_hits.sto, from github aqlaboratory/openfold
# (tests/test_data/alignments). Needs hmmbuild, hmmsearch and Python with alphafold-colabfold 2.3.27.
set -e
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
for query in 4zey_A 3u8v_A; do
  # As AlphaFold prepares the alignment for its template search; the A3M text is the same alignment, for our search.
  python - "$1/$query/uniref90_hits.sto" "$scratch/$query" <<'PYTHON'
import sys
from alphafold.data import parsers
sto = parsers.deduplicate_stockholm_msa(open(sys.argv[1]).read())
sto = parsers.remove_empty_columns_from_stockholm_msa(sto)
open(sys.argv[2] + '.sto', 'w').write(sto)
rows = parsers.convert_stockholm_to_a3m(sto).splitlines()
short = [row.split('/')[0] if row.startswith('>') else row for row in rows]  # names alone: the file is smaller
open(sys.argv[2] + '.a3m', 'w').write('\n'.join(short) + '\n')
PYTHON
done
# A protein without homologues: HRAS, the sequence of 1ctq_A.
grep -A 1 '^>1ctq_A' "$here/../../../examples/database/pdb_seqres_sample.txt" > "$scratch/1ctq_A.a3m"
residues=$(sed -n 2p "$scratch/1ctq_A.a3m")
printf '# STOCKHOLM 1.0\n\n1ctq_A %s\n#=GC RF %s\n//\n' "$residues" "$(echo "$residues" | sed 's/./x/g')" > "$scratch/1ctq_A.sto"

for query in 4zey_A 3u8v_A 1ctq_A; do
  hmmbuild --hand --amino "$scratch/$query.hmm" "$scratch/$query.sto" > /dev/null
  hmmsearch --noali --cpu 1 --F1 0.1 --F2 0.1 --F3 0.1 --incE 100 -E 100 --domE 100 --incdomE 100 \
    -A "$scratch/$query.hits.sto" --domtblout "$scratch/$query.domtbl" "$scratch/$query.hmm" \
    "$here/../../../examples/database/pdb_seqres_sample.txt" > /dev/null
  grep -v '^# ' "$scratch/$query.domtbl" > "$scratch/$query.kept" && mv "$scratch/$query.kept" "$scratch/$query.domtbl"
  for file in a3m hits.sto domtbl; do gzip -9nc "$scratch/$query.$file" > "$here/$query.$file.gz"; done
done
rm -r "$scratch"
