#!/bin/sh
# What jackhmmer 3.3.2 (Debian package hmmer) finds for queries.fasta in the example database, run as AlphaFold 2.3.2
# runs it (data/tools/jackhmmer.py), and its table of E-values. Run this script in its own folder.
set -eu
work=$(mktemp -d)
gzip -dc ../../../examples/database/uniref_sample.fasta.gz > "$work/database.fasta"
awk -v work="$work" '/^>/ { name = substr($1, 2) } { print > (work "/" name ".fasta") }' queries.fasta
for name in $(sed -n 's/^>//p' queries.fasta); do
  jackhmmer -o /dev/null -A "$work/$name.sto" --domtblout "$work/$name.domtbl" --noali --F1 0.0005 --F2 5e-05 \
    --F3 5e-07 --incE 0.0001 -E 0.0001 --cpu 2 -N 1 "$work/$name.fasta" "$work/database.fasta"
  grep -v '^#=GR' "$work/$name.sto" | gzip -9n > "$name.sto.gz"  # without the probabilities of aligned residues
  grep -v '^#' "$work/$name.domtbl" | gzip -9n > "$name.domtbl.gz" || true  # grep finds nothing where there is no hit
done
rm -r "$work"
