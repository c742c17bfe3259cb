"""Running many trials: planning, engines and sessions."""
