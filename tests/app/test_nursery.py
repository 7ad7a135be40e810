"""The process that forks kernels, asked as its server does."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from waiting import wait_for

from dyntoolkit.app.forked_kernel import ForkedKernel
from dyntoolkit.app.kernels import DEFAULTS, Kernels, Nursery, RefusedError, at_import
from dyntoolkit.app.nursery import NICENESS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="forks are safe on Linux only"),
]

SECRET = "TOKEN-9f3b07c1"
Start = Callable[..., ForkedKernel]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_TOKEN", SECRET)
        nursery = Nursery(os.environ, patience=60)
    yield nursery
    nursery.close()


@pytest.fixture
def start(nursery: Nursery, tmp_path: Path) -> Iterator[Start]:
    """start(**environment): a kernel whose connection file is `tmp_path / "kernel.json"`; ended with the test."""
    started = []

    def kernel(**environment: str) -> ForkedKernel:
        file, _ = write_connection_file(str(tmp_path / "kernel.json"), transport="ipc", ip=str(tmp_path / "socket"))
        started.append(nursery.fork(["-f", file], str(tmp_path), {**os.environ, **environment}))
        return started[-1]

    yield kernel
    for each in started:
        each.kill()
        each.wait(60)


def threads(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def memory_holds(pid: int, text: bytes) -> bool:
    """Whether these bytes are in the memory that a process can write to."""
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in maps:
            place, mode, *_ = line.split()
            if mode.startswith("rw") and "[v" not in line:
                first, last = (int(end, 16) for end in place.split("-"))
                memory.seek(first)
                if text in memory.read(last - first):
                    return True
    return False


def test_has_one_thread_and_no_secret_before_and_after_it_has_forked(nursery: Nursery, start: Start) -> None:
    kernel = start(JPY_API_TOKEN=SECRET)
    pid = nursery.process.pid
    assert threads(pid) == 1
    assert memory_holds(kernel.pid, SECRET.encode())
    assert not memory_holds(pid, SECRET.encode())
    names = {line.split("=")[0] for line in Path(f"/proc/{pid}/environ").read_text().split("\0") if line}
    assert names == at_import(os.environ).keys()


def test_nobody_can_connect_to_it(nursery: Nursery) -> None:
    """Its sockets have no name: neither in the file system nor among the abstract ones, and no port."""
    assert [each.laddr for each in psutil.Process(nursery.process.pid).net_connections("all") if each.laddr] == []


def test_kernels_are_groups_of_one_session_that_gives_way_to_the_server(nursery: Nursery, start: Start) -> None:
    """Linux may share out processors by session: with one of its own, each would get as much as the server."""
    kernel, other, pid = start(), start(), nursery.process.pid
    assert os.getpgid(kernel.pid) == kernel.pid
    assert os.getsid(kernel.pid) == os.getsid(other.pid) == pid != os.getsid(0)
    assert os.getpriority(os.PRIO_PROCESS, kernel.pid) == os.getpriority(os.PRIO_PROCESS, pid) + NICENESS


def test_kernel_holds_none_of_the_descriptors_of_others(nursery: Nursery, start: Start, tmp_path: Path) -> None:
    def sockets(pid: int) -> set[str]:
        links = (os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir())
        return {link for link in links if link.startswith(("socket", "anon_inode:[pidfd"))}

    first = start()
    theirs = sockets(nursery.process.pid)
    second = start()
    ours = sockets(nursery.process.pid) - theirs
    assert len(ours & sockets(second.pid)) == 1
    assert theirs & sockets(second.pid) == set()
    assert first.poll() is None


def test_exit_codes(start: Start) -> None:
    kernel = start()
    assert kernel.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        kernel.wait(0)
    kernel.terminate()
    assert kernel.wait(60) == kernel.poll() == -signal.SIGTERM
    kernel.kill()  # of what has ended long ago
    kernel = start()
    os.kill(kernel.pid, signal.SIGSEGV)
    assert kernel.wait(60) == -signal.SIGSEGV


def connected(file: Path) -> BlockingKernelClient:
    """A client of a kernel, which is ready."""
    client = BlockingKernelClient(connection_file=str(file))
    client.load_connection_file()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    return client


def test_kernel_is_told_to_end_when_its_connection_ends(start: Start, tmp_path: Path) -> None:
    kernel = start()
    process = psutil.Process(kernel.pid)
    client = connected(tmp_path / "kernel.json")
    client.execute("import os, signal; signal.signal(signal.SIGTERM, lambda *_: [open('told', 'w'), os._exit(0)])")
    client.get_shell_msg(timeout=60)
    client.stop_channels()
    kernel._connection.shutdown(socket.SHUT_RDWR)
    process.wait(60)
    assert (tmp_path / "told").exists()


def test_kernel_that_does_not_listen_is_killed_when_its_server_goes(tmp_path: Path) -> None:
    nursery = Nursery(os.environ, patience=60)
    kernel = nursery.fork(["-f", str(tmp_path / "own.json")], str(tmp_path), os.environ)
    process = psutil.Process(kernel.pid)
    process.suspend()
    wait_for(lambda: process.status() == psutil.STATUS_STOPPED)  # SIGTERM then waits until it goes on
    kernel._connection.close()
    nursery.close()
    assert not process.is_running()


def test_kernel_outlives_the_nursery_but_not_its_server(tmp_path: Path) -> None:
    nursery = Nursery(os.environ, patience=60)
    file, _ = write_connection_file(str(tmp_path / "kernel.json"), transport="ipc", ip=str(tmp_path / "socket"))
    kernel = nursery.fork(["-f", file], str(tmp_path), os.environ)
    process = psutil.Process(kernel.pid)
    nursery.end()
    connected(Path(file)).stop_channels()
    assert kernel.poll() is None
    kernel._connection.shutdown(socket.SHUT_RDWR)
    process.wait(60)
    kernel._connection.close()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_a_server_that_is_killed(tmp_path: Path, end: int) -> None:
    code = f"""if True:
        import os, time
        from dyntoolkit.app.kernels import Nursery
        nursery = Nursery(os.environ, patience=60)
        kernel = nursery.fork(["-f", "{tmp_path}/own.json"], "{tmp_path}", os.environ)
        print(nursery.process.pid, kernel.pid, flush=True)
        time.sleep(1000)"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in server.stdout.readline().split()]
        assert len(processes) == 2
        server.send_signal(end)
    assert psutil.wait_procs(processes, timeout=60)[1] == []


def test_refuses_what_modules_would_have_read_otherwise(nursery: Nursery, start: Start) -> None:
    with pytest.raises(RefusedError, match="OMP_NUM_THREADS, which modules read once"):
        start(OMP_NUM_THREADS="7")
    assert start(OMP_NUM_THREADS=DEFAULTS["OMP_NUM_THREADS"], QUERY_STRING="a=1", PATH_INFO="/").poll() is None
    assert nursery.process.poll() is None


def test_kernel_that_fails_at_once_is_refused_and_the_next_one_is_not(nursery: Nursery, start: Start) -> None:
    with pytest.raises(RefusedError, match="exit 1"):
        nursery.fork([], "/no/such/folder", os.environ)
    assert start().poll() is None


def test_with_more_threads_it_says_so_and_forks_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
    )
    kernels = Kernels()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        for _ in range(2):
            assert kernels.fork(["-f", "own.json"], str(tmp_path), os.environ) is None
    assert "it has 2 threads" in caplog.text
    assert len(caplog.messages) == 1
    assert kernels.nursery is not None
    kernels.nursery.close()


def test_one_that_does_not_answer_is_replaced_but_not_for_ever(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit(3)")
    kernels = Kernels()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        for _ in range(5):
            assert kernels.fork(["-f", "own.json"], str(tmp_path), os.environ) is None
    assert len(caplog.messages) == 3
    assert all("it has ended before it was ready" in message for message in caplog.messages)
    assert kernels.nursery is None


def test_one_that_hangs_is_given_up_and_forks_nothing_later(tmp_path: Path, nursery: Nursery) -> None:
    kernels = Kernels()
    kernels.nursery = hung = Nursery(os.environ, patience=60)
    first = hung.fork(["-f", str(tmp_path / "own.json")], str(tmp_path), os.environ)
    hung.patience = 0.2
    hung.process.send_signal(signal.SIGSTOP)
    assert kernels.fork(["-f", str(tmp_path / "late.json")], str(tmp_path), os.environ) is None
    assert hung.process.returncode == -signal.SIGKILL
    assert kernels.nursery is not hung
    first.kill()
    wait_for(lambda: first.poll() is not None)
    assert not (tmp_path / "late.json").exists()
    kernels.nursery.close()


@pytest.mark.parametrize("when", ["before it is ready", "before its word is read"])
def test_a_server_that_goes_early_is_no_error(when: str) -> None:
    """As by Ctrl-C at once: the terminal shows nothing of it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-m", "dyntoolkit.app.nursery", str(theirs.fileno())]
    options = {"env": os.environ | DEFAULTS, "pass_fds": [theirs.fileno()], "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **options) as process:
        theirs.close()
        if when == "before its word is read":
            ours.recv(1, socket.MSG_PEEK)
        ours.close()
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, "")
