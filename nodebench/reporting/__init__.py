"""From records and statistics to what people read."""
