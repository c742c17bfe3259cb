"""From a grid to records: planning, the three passes, the isolated process, the engine, the store."""
