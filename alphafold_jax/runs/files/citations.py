# SPDX-License-Identifier: Apache-2.0
"""What to cite: the works behind a prediction, as BibTeX."""

from alphafold_jax.search.databases import HHSUITE
from alphafold_jax.search.options import SearchOptions


def bibtex(search: SearchOptions | None) -> str:
  """The entries for the network, and for what searched for homologues and templates."""
  names = ['alphafold', *(_OF_MODE[search.mode] if search else ())]
  if search and search.templates and not search.uses_server:
    database = search.template_database
    names += ['hhsuite' if database and database.kind == HHSUITE else 'hmmer', 'kalign']
  return '\n'.join(_ENTRIES[name] for name in dict.fromkeys(names))


_MMSEQS = ('mmseqs', 'colabfold')
_OF_MODE = {
  'single_sequence': (),
  'hmmer': ('hmmer', 'pyhmmer'),
  'mmseqs2': _MMSEQS,
  'server': _MMSEQS,
  'mmseqs2_uniref_env': _MMSEQS,
  'mmseqs2_uniref': _MMSEQS,
}
_ENTRIES = {
  'alphafold': """\
@article{Jumper2021,
  author = {Jumper, John and Evans, Richard and Pritzel, Alexander and Green, Tim and Figurnov, Michael and
    Ronneberger, Olaf and Tunyasuvunakool, Kathryn and Bates, Russ and {\\v{Z}}{\\'i}dek, Augustin and
    Potapenko, Anna and Bridgland, Alex and Meyer, Clemens and Kohl, Simon A. A. and Ballard, Andrew J. and
    Cowie, Andrew and Romera-Paredes, Bernardino and Nikolov, Stanislav and Jain, Rishub and Adler, Jonas and
    Back, Trevor and Petersen, Stig and Reiman, David and Clancy, Ellen and Zielinski, Michal and
    Steinegger, Martin and Pacholska, Michalina and Berghammer, Tamas and Bodenstein, Sebastian and
    Silver, David and Vinyals, Oriol and Senior, Andrew W. and Kavukcuoglu, Koray and Kohli, Pushmeet and
    Hassabis, Demis},
  title = {Highly accurate protein structure prediction with {AlphaFold}},
  journal = {Nature},
  volume = {596},
  pages = {583--589},
  year = {2021},
  doi = {10.1038/s41586-021-03819-2},
}
""",
  'hmmer': """\
@article{Eddy2011,
  author = {Eddy, Sean R.},
  title = {Accelerated profile {HMM} searches},
  journal = {PLoS Computational Biology},
  volume = {7},
  pages = {e1002195},
  year = {2011},
  doi = {10.1371/journal.pcbi.1002195},
}
""",
  'pyhmmer': """\
@article{Larralde2023,
  author = {Larralde, Martin and Zeller, Georg},
  title = {{PyHMMER}: a {Python} library binding to {HMMER} for efficient sequence analysis},
  journal = {Bioinformatics},
  volume = {39},
  pages = {btad214},
  year = {2023},
  doi = {10.1093/bioinformatics/btad214},
}
""",
  'mmseqs': """\
@article{Steinegger2017,
  author = {Steinegger, Martin and S{\\"o}ding, Johannes},
  title = {{MMseqs2} enables sensitive protein sequence searching for the analysis of massive data sets},
  journal = {Nature Biotechnology},
  volume = {35},
  pages = {1026--1028},
  year = {2017},
  doi = {10.1038/nbt.3988},
}
""",
  'colabfold': """\
@article{Mirdita2022,
  author = {Mirdita, Milot and Sch{\\"u}tze, Konstantin and Moriwaki, Yoshitaka and Heo, Lim and
    Ovchinnikov, Sergey and Steinegger, Martin},
  title = {{ColabFold}: making protein folding accessible to all},
  journal = {Nature Methods},
  volume = {19},
  pages = {679--682},
  year = {2022},
  doi = {10.1038/s41592-022-01488-1},
}
""",
  'hhsuite': """\
@article{Steinegger2019,
  author = {Steinegger, Martin and Meier, Markus and Mirdita, Milot and V{\\"o}hringer, Harald and
    Haunsberger, Stephan J. and S{\\"o}ding, Johannes},
  title = {{HH-suite3} for fast remote homology detection and deep protein annotation},
  journal = {BMC Bioinformatics},
  volume = {20},
  pages = {473},
  year = {2019},
  doi = {10.1186/s12859-019-3019-7},
}
""",
  'kalign': """\
@article{Lassmann2020,
  author = {Lassmann, Timo},
  title = {{Kalign} 3: multiple sequence alignment of large datasets},
  journal = {Bioinformatics},
  volume = {36},
  pages = {1928--1929},
  year = {2020},
  doi = {10.1093/bioinformatics/btz795},
}
""",
}
