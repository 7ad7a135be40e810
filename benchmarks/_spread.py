"""What every benchmark prints: a figure with its spread, and how busy the machine was."""

import os
import platform
import re
import statistics
from collections.abc import Sequence
from pathlib import Path


def spread(values: Sequence[float], unit: str, digits: int = 0) -> str:
    """The median with the smallest and the largest value, and how many there were."""
    middle, low, high = (f"{value:,.{digits}f}" for value in (statistics.median(values), min(values), max(values)))
    return f"median {middle} {unit} ({low} to {high}, n = {len(values)})"


def machine() -> str:
    """Processor, cores and load of this machine: other programs slow the measured one down."""
    about = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.*)$", about.read_text(), re.MULTILINE) if about.exists() else None
    name = found[1] if found else platform.processor()
    return f"{name}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
