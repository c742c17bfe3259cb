"""Plan and run the trials that decide claims. Below ``api``, only this package imports both claims and running."""
