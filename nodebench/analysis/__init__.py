"""From records to numbers: reads records only, never imports torch."""
