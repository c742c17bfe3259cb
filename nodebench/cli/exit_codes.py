"""Exit codes and special option values of the command line; documented in ``docs/commands.md``."""

# Exit codes.
OK = 0
TRIAL_FAILED = 1
BAD_INPUT = 2
RUN_ABORTED = 3
INTERRUPTED = 130

# The value of --resume that means the latest run.
LATEST = "latest"
