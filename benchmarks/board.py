"""Kernel time and bytes of one frame of the Board: 4 subplots, 2,000 points, one 64 x 64 map; in a real kernel.

python benchmarks/board.py
"""

import inspect
import json
from typing import Any

from jupyter_client.manager import start_new_kernel

FRAMES = 500


def measure(frames: int) -> dict[str, Any]:
    """Seconds of each `show` that sends, and the bytes of its message. Runs inside the kernel."""
    import json
    import time

    import numpy as np

    from dyntoolkit.dashboard.board import Board
    from dyntoolkit.figure import panels as p
    from dyntoolkit.plotly_js import gzipped

    def figure(k: int) -> list[p.Panel]:
        t = np.arange(100.0)
        loss, norm, cosine = np.exp(-t[:, None] / (20 + np.arange(3) + k % 7)), np.outer(t + k, [1, 2, 3]), t / (t + k)
        w = np.outer(np.arange(64.0), np.arange(64.0) + k)
        step, units = p.Axis("training step"), np.arange(64)
        bands: list[p.Mark] = [p.median_line("train", t, loss, p.TRAIN), p.median_line("test", t, 2 * loss, p.TEST)]
        lines: list[p.Mark] = [p.Line(f"layer {i}", t, cosine**i, p.SERIES[i]) for i in range(1, 6)]
        theory: list[p.Mark] = [p.Line("theory", t, cosine, p.GREY, dash=True), p.Level("floor", y=1e-3)]
        return [
            p.Panel("Loss", step, p.Axis("loss", log=True), [*bands, *theory]),
            p.Panel("Norm", step, p.Axis("norm"), [p.median_line("w", t, norm, p.LAYER1), *lines]),
            p.Panel("Alignment", step, p.Axis("cosine"), [*lines, p.Level("perfect", y=1.0)]),
            p.Panel("Weights", p.Axis("input"), p.Axis("unit"), [p.Heat("w", units, units, w)]),
        ]

    sent: list[int] = []

    class Counted(Board):
        def send(self, content: Any, buffers: Any = None) -> None:
            super().send(content, buffers)
            sent.append(sum(buffer.nbytes for buffer in buffers))
            headers.append(len(json.dumps(content)))

    headers: list[int] = []
    board = Counted("benchmark")
    board._handle_custom_msg({"kind": "attach", "view": "v"}, [])
    seconds = []
    for k in range(1, frames + 1):
        shown = figure(k)
        start = time.perf_counter()
        board.show(shown, k)
        seconds.append(time.perf_counter() - start)
        board._handle_custom_msg({"kind": "drawn", "view": "v", "frame": k}, [])
    marks = [mark for panel in shown for mark in panel.marks]
    points = sum(len(mark.x) * (1 if mark.low is None else 3) for mark in marks if isinstance(mark, p.Line))
    return {
        "seconds": seconds[1:],  # the first one also carries the structure
        "points": points,
        "first": sent[0] + headers[0],
        "frame": sent[-1] + headers[-1],
        "plotly.js": len(gzipped()),
    }


def in_kernel(code: str) -> str:
    """What the code prints in a fresh kernel."""
    manager, client = start_new_kernel()
    printed: list[str] = []

    def collect(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            printed.append(message["content"]["text"])

    try:
        reply = client.execute_interactive(code, timeout=120, output_hook=collect)
        if reply["content"]["status"] != "ok":
            raise RuntimeError("\n".join(reply["content"]["traceback"]))
    finally:
        client.stop_channels()
        manager.shutdown_kernel()
    return "".join(printed)


def main() -> None:
    code = f"from typing import Any\n{inspect.getsource(measure)}\nimport json\nprint(json.dumps(measure({FRAMES})))"
    result = json.loads(in_kernel(code))
    times = sorted(1e3 * second for second in result["seconds"])
    low, median, high = (times[int(share * (len(times) - 1))] for share in (0.05, 0.5, 0.95))
    print(f"kernel time per frame: median {median:.2f} ms, 5-95 % {low:.2f}-{high:.2f} ms   (to reach: 3 ms)")
    print(f"  4 subplots, {result['points']} points, one 64 x 64 map, {len(times)} frames")
    print(f"bytes per frame: {result['frame'] / 1e3:.1f} kB, the first one {result['first'] / 1e3:.1f} kB   (60 kB)")
    print(f"plotly.js, once per page: {result['plotly.js'] / 1e6:.2f} MB   (whole page: 2 MB)")


if __name__ == "__main__":
    main()
