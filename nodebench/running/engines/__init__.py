"""Engines: where trials run. Each takes trials and gives records; none knows what a trial does."""
