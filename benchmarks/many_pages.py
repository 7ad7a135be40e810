"""Many people on one server at once, or one after another.

At once: every page opens a notebook within ten seconds of the first and trains; some are tabs of a browser, the others
say what a page says without drawing (`_page_client.py`). Prints how many show a curve, how soon, and how much memory
server, nursery and kernels take together (a page of memory that several share counts once: PSS).

One after another (`--sequence N`): N pages, a few at once, opened and left in the three ways there are: closed, without
a word, and before they were there. Prints what server and nursery hold then.
"""

import argparse
import asyncio
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]
from _browser import CURVE, FINISHED, WAIT, server_process
from _page_client import PageClient
from _spread import machine, spread
from playwright.async_api import Browser, async_playwright

WITHIN = 10.0  # seconds in which all pages are opened
DRAWN = f"[...document.querySelectorAll('{CURVE}')].some((path) => path.getAttribute('d')?.includes('L'))"
EVERY = 50  # pages, after which what is held is printed


async def at_once(address: str, pid: int, pages: int, tabs: int) -> None:
    """Open the pages and print what came of them."""
    done = asyncio.Event()
    memory = asyncio.create_task(_peak_memory(pid, done))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=["--disable-gpu"]
        )
        tab_numbers = {round(k * pages / tabs) for k in range(tabs)} if tabs else set()
        begin = time.perf_counter()
        visits = [
            _after(k * WITHIN / pages, _tab(browser, address) if k in tab_numbers else _client(address))
            for k in range(pages)
        ]
        found = await asyncio.gather(*visits, return_exceptions=True)
        took = time.perf_counter() - begin
        await browser.close()
    done.set()
    curves = [seconds for seconds in found if isinstance(seconds, float)]
    errors = Counter(f"{type(error).__name__}: {error}" for error in found if isinstance(error, BaseException))
    print(f"{len(curves)} of {pages} pages show a curve and finish; {errors.total()} errors   (to reach: all, 0)")
    for error, times in errors.items():
        print(f"  {times} x {error}")
    print(f"first curve: {spread(curves, 's', 1)}; all finished after {took:.0f} s")
    print(f"memory of server, nursery and kernels at the peak: {await memory / 1e9:.2f} GB   (to reach: 6 GB)")


async def _after(seconds: float, visit: Coroutine[None, None, float]) -> float:
    await asyncio.sleep(seconds)
    return await visit


async def _client(address: str) -> float:
    """Seconds to the first curve of a page without a browser, which stays until its run has finished."""
    page = PageClient(address)
    await page.open()
    await page.until("finished", 240)
    return await page.until("curve", 60)  # which may have been drawn after the last word


async def _tab(browser: Browser, address: str) -> float:
    """The same of a page in a browser."""
    page = await browser.new_page()
    page.set_default_timeout(WAIT)
    begin = time.perf_counter()
    await page.goto(address, wait_until="commit")
    await page.wait_for_function(DRAWN, polling=100)  # a page behind others draws no animation frames
    seconds = time.perf_counter() - begin
    await page.wait_for_function(FINISHED, polling=100)
    return seconds


async def _peak_memory(pid: int, done: asyncio.Event) -> float:
    """Bytes of the process and all below it, at the most of some looks."""
    peak = 0.0
    while not done.is_set():
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        peak = max(peak, sum(_memory(each) for each in family))
        with suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), 2)
    return peak


def _memory(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:  # it has ended meanwhile
        return 0


async def in_turn(address: str, pid: int, pages: int, together: int) -> None:
    """Open and leave that many pages, a few at once, and print what the server holds every now and then."""
    places = asyncio.Semaphore(together)

    async def visit(k: int) -> None:
        async with places:
            page = PageClient(address)
            if k % 10 == 3:
                await _leave_early(page)
                return
            await page.open()
            await page.until("curve")
            await (page.vanish() if k % 10 == 7 else page.close())

    await asyncio.gather(*map(visit, range(2 * together)))
    print(f"at the start: {await _at_rest(pid)}")
    for first in range(0, pages, EVERY):
        begin = time.perf_counter()
        some = range(first, min(first + EVERY, pages))
        await asyncio.gather(*map(visit, some))
        seconds = (time.perf_counter() - begin) / len(some)
        print(f"after {some.stop} pages ({seconds:.1f} s each): {await _at_rest(pid)}", flush=True)


async def _leave_early(page: PageClient) -> None:
    """Close a page while it is still being sent."""
    opening = asyncio.create_task(page.open())
    await asyncio.sleep(0.5)
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    await page.vanish()


async def _at_rest(pid: int) -> str:
    """What server and nursery hold once the kernels are gone."""
    server = psutil.Process(pid)
    begin = time.perf_counter()
    while len(server.children(recursive=True)) > 1 and time.perf_counter() - begin < 400:
        await asyncio.sleep(1)
    kernels_gone = time.perf_counter() - begin
    await asyncio.sleep(5)
    nursery = server.children()
    held = [_held(each) for each in (server, *nursery)]
    names = ("server", *["nursery"] * len(nursery))
    left = sum(each.is_file() for each in Path(os.environ["TMPDIR"]).rglob("*"))
    processes = len(server.children(recursive=True))
    parts = [f"{name} {what}" for name, what in zip(names, held, strict=True)]
    return (
        f"{processes} process(es) below it, kernels gone after {kernels_gone:.0f} s, {left} temporary files; "
        + "; ".join(parts)
    )


def _held(process: psutil.Process) -> str:
    sockets = Counter(each.status for each in process.net_connections())
    memory = process.memory_info().rss / 1e6
    return f"{memory:.0f} MB, {process.num_threads()} threads, {process.num_fds()} descriptors, {dict(sockets)}"


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--tabs", type=int, default=5, help="of the pages, those in a browser")
    parser.add_argument("--sequence", type=int, metavar="N", help="N pages one after another instead")
    parser.add_argument("--together", type=int, default=4, help="of those, how many at once")
    parser.add_argument("--notebook", default="label_noise.ipynb")
    options = parser.parse_args()
    print(f"{options.notebook}; {machine()}")
    temporary = tempfile.TemporaryDirectory()
    os.environ["TMPDIR"] = temporary.name  # also the server's
    with temporary, server_process(max_sessions=options.pages) as (address, pid):
        address += options.notebook
        if options.sequence:
            asyncio.run(in_turn(address, pid, options.sequence, options.together))
        else:
            asyncio.run(at_once(address, pid, options.pages, options.tabs))
    print(f"load average {os.getloadavg()[0]:.1f} at the end")


if __name__ == "__main__":
    main()
