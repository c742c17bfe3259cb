"""Ensure that file descriptors 0 to 2 are open, and that the limit of open files is high enough."""

import os
import resource

from nodebench.errors import BadInput

# What a command needs: standard streams, a results folder, the fork server, and a few pipes for each trial.
ENOUGH = 256
FEWEST = 64


def reserve_standard_descriptors() -> None:
    """Open ``/dev/null`` for each of the descriptors 0 to 2 that is closed.

    Otherwise the next file or pipe takes that number, and a process that redirects its standard streams closes it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != descriptor:  # cannot happen while only this thread opens files
                os.dup2(opened, descriptor)
                os.close(opened)
            os.set_inheritable(descriptor, True)


def require_descriptors() -> None:
    """Raise the soft limit of open files to ``ENOUGH``, where the hard limit allows it.

    Raises:
        BadInput: fewer than ``FEWEST`` files may be open.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= ENOUGH:
        return
    allowed = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < FEWEST:
        raise BadInput(f"this process may open {allowed} files; allowed: {FEWEST} or more (see 'ulimit -n')")
