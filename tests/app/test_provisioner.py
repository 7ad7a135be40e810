"""Kernels as Jupyter's servers start them, from the kernelspec of `dyntoolkit serve`."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

from dyntoolkit.app import kernels
from dyntoolkit.app.forked_kernel import ForkedKernel
from dyntoolkit.app.gallery import PACKAGE
from dyntoolkit.app.kernels import KERNELS
from dyntoolkit.app.nursery import NICENESS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks are safe on Linux only"),
    pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning"),
]

MANY = 20  # a multiple of 4
SPECS = [str(PACKAGE / "app" / "share" / "kernels")]


@pytest.fixture(scope="module", autouse=True)
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all of these tests, and folders of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        patch.setattr(kernels, "Nursery", partial(kernels.Nursery, patience=120))  # on a busy machine it takes its time
        KERNELS.prepare()
        yield
        assert KERNELS.nursery is not None
        KERNELS.nursery.close()
        KERNELS.nursery = None


class Kernel:
    """A running kernel and its client."""

    def __init__(self, manager: AsyncKernelManager) -> None:
        self.manager = manager
        self.client: Any = None

    @property
    def process(self) -> Any:
        assert self.manager.provisioner is not None
        return self.manager.provisioner.process  # type: ignore[attr-defined]

    async def connect(self) -> None:
        self.client = self.manager.client()
        self.client.start_channels()
        await self.client.wait_for_ready(timeout=60)

    async def run(self, code: str, said: list[str] | None = None) -> str:
        """What it writes; the name of the exception, if there is one. said: gets every piece of it at once."""
        said = [] if said is None else said

        def hear(message: dict[str, Any]) -> None:
            said.append(message["content"].get("text", "") + message["content"].get("ename", ""))

        await self.client.execute_interactive(code, timeout=60, output_hook=hear, allow_stdin=False)
        return "".join(said).strip()

    async def ended(self) -> int:
        """The exit code, once it is noticed."""
        while await self.manager.is_alive():
            await asyncio.sleep(0.02)
        code = self.process.returncode
        assert isinstance(code, int)
        return code


@asynccontextmanager
async def running(**keywords: Any) -> AsyncIterator[Kernel]:
    specs = KernelSpecManager(kernel_dirs=SPECS, ensure_native_kernel=False)
    kernel = Kernel(AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs))
    kernel.manager.transport_encryption = "auto"
    await kernel.manager.start_kernel(**keywords)
    try:
        await kernel.connect()
        yield kernel
    finally:
        if kernel.client is not None:
            kernel.client.stop_channels()
        await kernel.manager.shutdown_kernel(now=True)


def test_is_forked_with_the_environment_and_folder_asked_for(tmp_path: Path) -> None:
    async def check() -> None:
        environment = {**os.environ, "QUERY_STRING": "lr=0.1"}
        async with running(env=environment, cwd=str(tmp_path)) as kernel:
            assert isinstance(kernel.process, ForkedKernel)
            code = "import os, sys; print(os.getcwd(), os.environ['QUERY_STRING'], 'torch' in sys.modules, sys.argv[1])"
            assert await kernel.run(code) == f"{tmp_path} lr=0.1 True -f"
            environment |= kernel.manager.kernel_spec.env  # type: ignore[union-attr]
            expected = environment | {"JPY_PARENT_PID": str(os.getpid())}
            there = await kernel.run("print({k: v for k, v in os.environ.items() if k != 'MPLBACKEND'})")
            added = eval(there).items() - expected.items()
            assert {name for name, _ in added} <= {
                "CLICOLOR",
                "CLICOLOR_FORCE",
                "FORCE_COLOR",
                "PAGER",
                "GIT_PAGER",
                "TERM",
            }
            assert expected.keys() - {"MPLBACKEND"} <= eval(there).keys()
            assert (await kernel.run("print(sys.path[-1] == '' or '' in sys.path)")) == "True"

    asyncio.run(check())


def test_random_numbers_and_memory_are_its_own() -> None:
    code = """if True:
        import random, numpy, torch, uuid, multiprocessing
        draw = [random.random(), numpy.random.rand(), torch.rand(1, dtype=float).item(), uuid.uuid4().hex]
        draw.append(multiprocessing.current_process().authkey.hex())
        print(*draw)"""

    async def check() -> None:
        async with running() as one, running() as other:
            first, second = (await one.run(code)).split(), (await other.run(code)).split()
            assert len(first) == len(second)
            assert all(a != b for a, b in zip(first, second, strict=True))
            await one.run("import dyntoolkit; dyntoolkit.mark = mine = 7")
            assert await other.run("import dyntoolkit; print(hasattr(dyntoolkit, 'mark'), 'mine' in globals())") == (
                "False False"
            )

    asyncio.run(check())


def test_trains_with_xla_in_one_thread() -> None:
    code = """if True:
        import dyntoolkit as dt, torch
        from dyntoolkit.engine import choice
        print(dt.run('label_noise.linear', steps=500).attrs['engine'], torch.get_num_threads(), choice._usable)"""

    async def check() -> None:
        async with running() as one, running() as other:
            assert await one.run(code) == "xla 1 True"
            assert await other.run(code) == "xla 1 True"

    asyncio.run(check())


def test_widgets_of_the_page_are_known() -> None:
    """What ipywidgets and matplotlib do at their import, if there is a kernel by then."""

    async def check() -> None:
        async with running() as kernel:
            await kernel.run("import comm, matplotlib")
            assert await kernel.run("print('jupyter.widget.control' in comm.get_comm_manager().targets)") == "True"
            assert await kernel.run("print('inline' in matplotlib.get_backend())") == "True"

    asyncio.run(check())


def test_interrupt_and_restart() -> None:
    async def check() -> None:
        async with running() as kernel:
            await kernel.run("mine = 7")
            said: list[str] = []
            code = "import time\nprint('begun', flush=True)\nwhile True: time.sleep(0.01)"
            busy = asyncio.create_task(kernel.run(code, said))
            while "begun" not in "".join(said) and not busy.done():
                await asyncio.sleep(0.02)
            await kernel.manager.interrupt_kernel()
            assert await busy == "begun\nKeyboardInterrupt"
            assert await kernel.run("print(mine)") == "7"
            before = kernel.process
            kernel.client.stop_channels()
            await kernel.manager.restart_kernel()
            await kernel.connect()
            assert before.returncode == 0
            assert isinstance(kernel.process, ForkedKernel)
            assert kernel.process.pid != before.pid
            assert await kernel.run("print(mine)") == "NameError"

    asyncio.run(check())


@pytest.mark.parametrize(
    ("death", "code"),
    [("os._exit(7)", 7), ("import ctypes; ctypes.string_at(0)", -signal.SIGSEGV)],
)
def test_crash_is_noticed_with_its_exit_code(death: str, code: int) -> None:
    async def check() -> None:
        async with running() as kernel:
            kernel.client.execute(f"import os; {death}")
            assert await asyncio.wait_for(kernel.ended(), 30) == code

    asyncio.run(check())


def test_without_a_nursery_it_starts_the_ordinary_way_and_the_next_one_is_forked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check() -> None:
        async with running():
            pass
        assert KERNELS.nursery is not None
        KERNELS.nursery.process.kill()
        async with running() as kernel:
            assert not isinstance(kernel.process, ForkedKernel)
            code = "import os; print(os.getpriority(os.PRIO_PROCESS, 0), os.environ['OMP_NUM_THREADS'])"
            assert await kernel.run(code) == f"{os.getpriority(os.PRIO_PROCESS, 0) + NICENESS} 1"
        ours = [record.message for record in caplog.records if record.name.startswith("dyntoolkit")]
        assert len(ours) == 1
        assert ours[0].startswith("A kernel starts the ordinary way")
        async with running() as kernel:
            assert isinstance(kernel.process, ForkedKernel)

    asyncio.run(check())


def test_what_asks_for_something_special_starts_the_ordinary_way(tmp_path: Path) -> None:
    async def check() -> None:
        with (tmp_path / "out").open("wb") as out:
            async with running(stdout=out) as kernel:
                assert not isinstance(kernel.process, ForkedKernel)

    asyncio.run(check())


def test_many_leave_nothing_behind() -> None:
    async def one() -> None:
        async with running() as kernel:
            assert isinstance(kernel.process, ForkedKernel)

    async def check() -> tuple[int, int, int, list[str]]:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))  # else it grows when it likes
        await one()
        assert KERNELS.nursery is not None
        here, nursery = psutil.Process(), psutil.Process(KERNELS.nursery.process.pid)
        counts = []
        for _ in range(2):
            for _ in range(MANY // 4):
                await asyncio.gather(one(), one())
            files = sorted(each.name for each in Path(os.environ["JUPYTER_RUNTIME_DIR"]).iterdir())
            assert nursery.children() == []
            gc.collect()
            counts.append((here.num_fds(), here.num_threads(), nursery.num_fds(), files))
        assert counts[0] == counts[1]
        return counts[0]

    assert asyncio.run(check())[3] == []
