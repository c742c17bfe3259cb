"""Running one trial: its own process, its passes and its probes."""
