"""What Python programs import; each name is public as ``nodebench.NAME``, and is loaded when it is first used."""
