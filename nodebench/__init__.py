"""nodebench: the benchmark and reproducibility suite for Neural ODEs."""

__version__ = "0.1.0"
