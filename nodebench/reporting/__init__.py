"""Reports, plots and tables made from records and statistics."""
