"""For Beam's `--setup_file=./setup.py`; the distribution is described in `pyproject.toml`.

Where the package `build` is not installed, Beam runs `python setup.py sdist` to make the archive that its
workers install. setuptools takes all it needs from `pyproject.toml`, so nothing is said here a second time.
"""

from setuptools import setup

setup()
