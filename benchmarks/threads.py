"""Environment variables that set the number of threads of numerical libraries.

The libraries read them on import, so this module imports none of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def limit(count: int) -> None:
    """Limit the threads of this process and its children, before the libraries are imported.

    Parameters
    ----------
    count : int
    """
    os.environ.update(dict.fromkeys(VARIABLES, str(count)))


@contextmanager
def one_thread_in_new_processes() -> Iterator[None]:
    """Limit processes that are started within the context to one thread each.

    Workers of joblib inherit these variables. Several workers with several threads each would use
    more cores than requested. Libraries that this process has imported are not affected.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    limit(1)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
