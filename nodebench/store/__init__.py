"""Storage of run directories, records, training snapshots and calibrations on disk."""
