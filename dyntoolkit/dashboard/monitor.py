"""What a dashboard says while it works: progress, status line, and the words for both."""

import math
from pathlib import Path

import anywidget
import ipywidgets as widgets
import traitlets

from dyntoolkit.dashboard.runner import Progress, State


class StatusLine(anywidget.AnyWidget):
    """One sentence for the reader, announced by screen readers; errors at once. Carries the dashboard's style sheet.

    link, settings: of the newest run, as an address and in words; the browser offers them when the kernel is gone.
    """

    _esm = Path(__file__).parent / "status.js"
    _css = Path(__file__).parent / "dashboard.css"
    text = traitlets.Unicode().tag(sync=True)
    error = traitlets.Bool(False).tag(sync=True)
    link = traitlets.Unicode().tag(sync=True)
    settings = traitlets.Unicode().tag(sync=True)

    def say(self, text: str, *, error: bool = False) -> None:
        """Show this sentence instead of the present one."""
        with self.hold_sync():
            self.text, self.error = text, error


class Monitor:
    """Progress bar with its numbers, and the status line."""

    def __init__(self) -> None:
        self.bar = widgets.FloatProgress(0.0, min=0.0, max=1.0)
        self.numbers = widgets.HTML()
        self.status = StatusLine().add_class("dyn-status")
        self.progress = widgets.HBox([self.bar, self.numbers]).add_class("dyn-progress")

    def show(self, progress: Progress) -> None:
        """Put the bar and its numbers where the training is."""
        self.bar.value = progress.step / progress.total if progress.total else 0.0
        self.numbers.value = progress_words(progress)


def progress_words(progress: Progress) -> str:
    """Steps, speed and time left, as far as they are known."""
    if not progress.total:
        return ""
    parts = [f"step {progress.step:,} of {progress.total:,}"]
    if progress.stages > 1:
        parts.insert(0, f"part {progress.stage} of {progress.stages}")
    if math.isfinite(progress.rate):
        parts.append(f"{float(f'{progress.rate:.2g}'):,.0f} steps/s")
    if progress.state in (State.RUNNING, State.PAUSED) and math.isfinite(progress.left):
        parts.append(f"{progress.left:.0f} s left")
    return " · ".join(parts)
