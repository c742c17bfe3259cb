"""The public Python API; each name is available as ``nodebench.NAME`` and is loaded when it is first used."""
