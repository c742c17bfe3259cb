"""An empty cache for torch.compile, so that the first training step of every trial includes compilation."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from nodebench.trial.scratch import scratch_folder

_VARIABLES = ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


@contextmanager
def empty_compiler_cache() -> Iterator[None]:
    """Have torch's compiler of this process use a new folder as its cache; the folder is removed at the end.

    By default the cache is kept from process to process, and the second trial of a study would compile in a fraction
    of the time of the first one.
    """
    before = {name: os.environ.get(name) for name in _VARIABLES}
    with scratch_folder() as folder:
        os.environ.update(dict.fromkeys(_VARIABLES, str(folder)))
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
