"""Share of the training speed that live drawing costs: the same run in a dashboard that a browser shows, and alone.

Both train in the kernel of one page of `dyntoolkit serve`, in turns; every run has a seed of its own.
"""

import argparse
import inspect
import json
import tempfile
from pathlib import Path

import nbformat.v4 as nb
from _browser import new_pages, server
from _spread import machine, spread


def measure(name: str, pairs: int) -> None:
    """In the page's kernel: show a dashboard, and then the seconds of `pairs` runs drawn and not, as JSON."""
    import json
    import threading
    import time
    import traceback

    import ipywidgets
    from IPython.display import display

    from dyntoolkit.catalog.registry import find
    from dyntoolkit.dashboard.dashboard import Dashboard
    from dyntoolkit.dashboard.runner import State

    dashboard = Dashboard(find(name))
    result = ipywidgets.HTML().add_class("result")
    display(dashboard, result)  # type: ignore[no-untyped-call]

    def is_trained(seed: int) -> bool:
        drawn_seeds = dashboard.history.seeds if dashboard.history else ()
        return drawn_seeds == (seed,) and dashboard.runner.progress.state is State.FINISHED

    def drawn(seed: int) -> float:
        dashboard.seed.value = seed
        while not is_trained(seed):
            time.sleep(0.05)
        return dashboard.runner.progress.seconds

    def alone(seed: int) -> float:
        begin = time.perf_counter()
        dashboard.experiment.run(dashboard.config, [seed])
        return time.perf_counter() - begin

    def work() -> None:
        try:
            while not dashboard.board.attached:
                time.sleep(0.05)
            drawn(1), alone(2)  # warm up
            rows = [(drawn(seed), alone(seed + 1)) for seed in range(3, 3 + 2 * pairs, 2)]
            result.value = json.dumps(rows)
        except Exception:
            result.value = traceback.format_exc()

    threading.Thread(target=work, daemon=True).start()


def notebook(folder: Path, name: str, pairs: int) -> str:
    """Write the notebook that measures, and return its name."""
    cells = [nb.new_code_cell(f"{inspect.getsource(measure)}\nmeasure({name!r}, {pairs})")]  # type: ignore[no-untyped-call]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    content = nb.new_notebook(cells=cells, metadata=kernel)  # type: ignore[no-untyped-call]
    (folder / "measure.ipynb").write_text(json.dumps(content))
    return "measure.ipynb"


def main() -> None:
    """Print the seconds of both kinds of run and the share lost, pair by pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="label_noise.linear", help="of an experiment")
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder)) as address,
        new_pages() as pages,
    ):
        page = next(pages)
        page.goto(address + notebook(Path(folder), options.name, options.repeats))
        page.wait_for_function("document.querySelector('.result .widget-html-content')?.textContent", polling=1000)
        text = page.inner_text(".result .widget-html-content")
        if not text.startswith("[["):
            raise RuntimeError(text)
    drawn, alone = zip(*json.loads(text), strict=True)
    lost = [100 * (1 - quick / slow) for slow, quick in json.loads(text)]
    print(f"{options.name}; {machine()}")
    print(f"drawn: {spread(drawn, 's', 2)}; alone: {spread(alone, 's', 2)}")
    print(f"training throughput lost to live drawing: {spread(lost, '%', 1)}   (to reach: 10 %)")


if __name__ == "__main__":
    main()
