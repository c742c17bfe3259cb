"""The asv suite: what a regression of nodebench, or of a library behind it, would show in."""
