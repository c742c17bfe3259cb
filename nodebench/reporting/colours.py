"""Colours of the figures: Okabe and Ito's, which the colour-blind can tell apart."""

TRUE, FITTED, OBSERVED, FIELD = "#000000", "#D55E00", "#0072B2", "#B8B8B8"
MUTED = "#444444"
