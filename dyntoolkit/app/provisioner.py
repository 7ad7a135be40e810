"""How Jupyter's servers get their kernels from the nursery: `share/kernels/python3` names the provisioner."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from dyntoolkit.app.kernels import KERNELS
from dyntoolkit.app.nursery import NICENESS

LAUNCHER = [sys.executable, "-m", "ipykernel_launcher"]
KNOWN = {"env", "cwd", "kernel_id", "extra_arguments"}  # with others, such as `stdout`, it is a process of its own


class NurseryProvisioner(LocalProvisioner):
    """Forks a kernel off the nursery, or starts it the ordinary way where that cannot be."""

    async def launch_kernel(self, cmd: list[str], **keywords: Any) -> KernelConnectionInfo:
        """Start the kernel that this command would start."""
        cwd = os.fspath(keywords.get("cwd") or Path.cwd())
        kernel = None
        if cmd[:3] == LAUNCHER and keywords.keys() <= KNOWN and Path(cwd).is_dir():
            environment = {**keywords["env"], "JPY_PARENT_PID": str(os.getpid())}
            kernel = await asyncio.to_thread(KERNELS.fork, cmd[3:], cwd, environment)
        if kernel is None:
            information = await super().launch_kernel(cmd, **keywords)
            if sys.platform != "win32" and self.pid is not None:
                inherited = os.getpriority(os.PRIO_PROCESS, self.pid)
                os.setpriority(os.PRIO_PROCESS, self.pid, inherited + NICENESS)
            return information
        self.process = kernel  # type: ignore[assignment]  # which has what is used of a Popen
        self.pid, self.pgid, self.cwd = kernel.pid, kernel.pid, cwd
        return self.connection_info
