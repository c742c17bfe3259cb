"""What the command line answers to the shell; documented in the README."""

OK = 0
TRIAL_FAILED = 1
BAD_INPUT = 2
CANNOT_GO_ON = 3
INTERRUPTED = 130
