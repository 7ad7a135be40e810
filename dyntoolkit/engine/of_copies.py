"""What a run has, given to several copies of it that train side by side."""

import torch


def of_copies(part: torch.Tensor, copies: int) -> torch.Tensor:
    """What a run has, (R, ...), for each of its C copies, (R C, ...): those of a run follow one another.

    >>> of_copies(torch.tensor([1, 2]), 3)
    tensor([1, 1, 1, 2, 2, 2])
    """
    return part.repeat_interleave(copies, 0)
