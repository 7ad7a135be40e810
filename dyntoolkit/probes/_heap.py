"""Memory that probes allocate and free again at every frame stays with the process."""

import torch


def keep_freed_memory() -> None:
    """Let the process keep some tens of MB that it has freed.

    glibc hands freed blocks above a threshold back to the system and then asks for them anew, page by page: a quarter
    of the time of `loss_spikes.mlp`, as measured. It raises the threshold to the size of blocks that come and go, 32 MB
    at most; so one of nearly that size is asked for, not touched, and freed. No effect with other C libraries.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)
