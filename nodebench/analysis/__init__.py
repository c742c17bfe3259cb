"""Statistics of records: reads only records and never imports torch."""
