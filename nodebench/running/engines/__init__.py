"""Engines run trials and return their records. An engine does not depend on what a trial does."""
