"""Keeping: run directories, records, films and calibrations on disk."""
