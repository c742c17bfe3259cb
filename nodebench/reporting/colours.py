"""Colours of the plots: the Okabe–Ito palette, which colour-blind readers can distinguish."""

TRUE, FITTED, OBSERVED, FIELD = "#000000", "#D55E00", "#0072B2", "#B8B8B8"
MUTED = "#444444"
