"""From asking for a kernel to `explore`, and the kernel's own memory after one default run: forked and ordinary.

In turns; before them one run that is not counted leaves the compiled program on disk, as `dyntoolkit warm` does. The
clock stops when the cell `explore(...)` has ended. Own memory is what no other process shares (USS).
"""

import argparse
import asyncio
import os
import re
import time
from pathlib import Path
from typing import Any

from _spread import machine, spread
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from dyntoolkit.app.environment import prepare_environment
from dyntoolkit.app.gallery import PACKAGE
from dyntoolkit.app.kernels import KERNELS

EXPLORE = "from dyntoolkit.dashboard import explore\nexploring = explore({name!r})"
FINISHED = "print(bool(exploring.claims))"


async def measure(name: str, forked: bool) -> tuple[float, float]:
    """Seconds until `explore` is there, and megabytes of its own once the run has ended."""
    begin = time.perf_counter()
    specs = KernelSpecManager(kernel_dirs=[str(PACKAGE / "app" / "share" / "kernels")])
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs, transport_encryption="auto")
    await manager.start_kernel(**({} if forked else {"stdout": None}))  # with this one the nursery is not asked
    client = manager.client()
    client.start_channels()
    await client.wait_for_ready(timeout=60)
    await _run(client, EXPLORE.format(name=name))
    seconds = time.perf_counter() - begin
    while await _run(client, FINISHED) != "True":
        await asyncio.sleep(0.1)
    own = _own_memory(manager.provisioner.pid)  # type: ignore[union-attr]
    client.stop_channels()
    await manager.shutdown_kernel(now=True)
    return seconds, own


async def _run(client: Any, code: str) -> str:
    """What a cell writes."""
    said: list[str] = []
    # allow_stdin: there is somebody who looks, so the dashboard is live
    await client.execute_interactive(
        code, timeout=60, allow_stdin=True, output_hook=lambda message: said.append(message["content"].get("text", ""))
    )
    return "".join(said).strip()


def _own_memory(pid: int) -> float:
    """Megabytes that no other process shares."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(int(size) for size in re.findall(r"^Private_(?:Clean|Dirty): +(\d+)", rollup, re.MULTILINE)) / 1000


async def measure_all(name: str, repeats: int) -> None:
    """Print both figures for both ways."""
    await measure(name, forked=True)
    found: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for _ in range(repeats):
        for forked, values in found.items():
            values.append(await measure(name, forked))
    for forked, values in found.items():
        seconds, own = zip(*values, strict=True)
        print(f"{'forked' if forked else 'ordinary'}: {spread(seconds, 's', 2)}; {spread(own, 'MB')}")


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("name", nargs="?", default="label_noise.linear", help="of an experiment")
    options = parser.parse_args()
    prepare_environment()
    KERNELS.prepare()
    print(f"{machine()}; {options.name}   (to reach: 80 MB)")
    asyncio.run(measure_all(options.name, options.repeats))
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
