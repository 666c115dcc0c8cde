"""How many threads the libraries use: variables that they read when they are loaded.

Nothing is imported here that reads them.
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
    """Limit this process, before it loads the libraries, and all that it starts.

    Parameters
    ----------
    count : int
    """
    os.environ.update(dict.fromkeys(VARIABLES, str(count)))


@contextmanager
def one_in_new_processes() -> Iterator[None]:
    """Limit processes that are started meanwhile to one thread; what is loaded here stays as it is.

    joblib's workers inherit the variables where there are any, and a team of workers with a team
    of threads each would be more than was asked for.
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
