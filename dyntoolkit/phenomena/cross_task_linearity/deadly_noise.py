"""The warning of settings with which heavy-ball SGD kills a ReLU network on the digits for some seeds."""

DEADLY = 0.03  # lr / (batch (1 - momentum)), the strength of SGD's noise: seeds died at .031, most of them at .06


def deadly_noise(lr: float, batch_size: int, momentum: float) -> list[str]:
    """One sentence where the noise of SGD is so strong, measured with `cross_task_linearity.digits`; else none."""
    if lr / (batch_size * (1 - momentum)) < DEADLY:
        return []
    return [
        f"a learning rate of {lr:g} with momentum {momentum:g} and batches of {batch_size} "
        "kills the network for some seeds: look at the training loss before the features."
    ]
