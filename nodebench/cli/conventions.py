"""Exit codes and special option values of the command line; documented in the README."""

# Exit codes.
OK = 0
TRIAL_FAILED = 1
BAD_INPUT = 2
CANNOT_GO_ON = 3
INTERRUPTED = 130

# The value of --resume that means the latest run.
LATEST = "latest"
