"""What watches over a worker process in an allocation: it ends where no worker can start again."""

import os
from typing import Any

_MOST_FAILED_STARTS = 3


def dask_setup(nanny: Any) -> None:
    """Called by Dask (``dask worker --preload-nanny``) when a nanny starts.

    Dask's nanny would try for ever, and hold the allocation, also when the driver is gone.
    """
    instantiate = nanny.instantiate
    num_failed = 0

    async def instantiate_or_end() -> Any:
        nonlocal num_failed
        num_failed += 1
        if num_failed > _MOST_FAILED_STARTS:
            os._exit(1)
        status = await instantiate()
        num_failed = 0
        return status

    nanny.instantiate = instantiate_or_end
