"""Planning and running what decides claims. The only package that knows both claims and how trials are run."""
