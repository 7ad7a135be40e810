"""A dashboard in a browser's page, used as a person would: by its sliders, buttons and words."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Locator, Page

CURVES = """[...ROOT.querySelectorAll(".dyn-board .dyntoolkit-plot")].map((plot) =>
  (plot.data ?? []).map(({ name, x, y, fill = "" }) => ({ name, fill, x: Array.from(x), y: Array.from(y) })))"""
CHANGED = f"""(before) => {CURVES}.flat().some(({{ y }}) =>
  y.filter(Number.isFinite).length > 1 && !before.includes(JSON.stringify(y)))"""
FINISHED = """([frame, what]) => {
  const text = (selector) => ROOT.querySelector(selector)?.textContent ?? "";
  const board = ROOT.querySelector(".dyn-board .dyntoolkit-board");
  const total = text(".dyn-progress").match(/step [\\d,]+ of ([\\d,]+)/)?.[1].replaceAll(",", "");
  const judged = !text(".dyn-claims").includes("judged at the end of the run");
  const done = judged && text(".dyn-status [role=status]").startsWith(`Finished: ${what}`);
  return done && Number(board?.dataset.frame) > frame && board.dataset.step === total;
}"""
EMPTY = """[...ROOT.querySelectorAll(".dyn-board .dyntoolkit-plot")].filter((plot) => {
  const paths = [...plot.querySelectorAll(".scatterlayer path, .barlayer path, .heatmaplayer image")];
  const said = plot.querySelector(".annotation-text"); // why there is nothing
  return !said && !paths.some((path) => path.getBoundingClientRect().width + path.getBoundingClientRect().height > 1);
}).map((plot) => plot.dataset.label)"""


class Dashboard:
    """A page's first dashboard, or that of an experiment."""

    def __init__(self, page: Page, experiment: str = "") -> None:
        self.page = page
        self.selector = f".dyn-experiment-{experiment.replace('.', '-')}" if experiment else ".dyn-dashboard"
        self.root = page.locator(self.selector).first

    def _in(self, script: str) -> str:
        """The script with its ROOT, this dashboard's element (an empty one while the page is still opening)."""
        root = f"(document.querySelector('{self.selector}') ?? document.createElement('div'))"
        return script.replace("ROOT", root)

    def open(self, url: str) -> None:
        """Go there, and wait for the end of the first run."""
        self.page.goto(url)
        self.wait_until_finished()

    # What is seen.

    def curves(self) -> list[list[dict]]:
        """Panel by panel, the traces as plotly holds them: name, fill, x, y; no number is None."""
        return json.loads(self.page.evaluate(self._in(f"JSON.stringify({CURVES})")))

    def numbers(self) -> list[str]:
        """The heights of all curves, as text to compare."""
        return self.page.evaluate(self._in(f"{CURVES}.flat().map(({{ y }}) => JSON.stringify(y))"))

    def empty_panels(self) -> list[str]:
        """The panels in which nothing is drawn."""
        return self.page.evaluate(self._in(EMPTY))

    def status(self) -> str:
        return self.root.locator(".dyn-status [role=status]").text_content()

    def alarm(self) -> str:
        return self.root.locator(".dyn-status [role=alert]").text_content()

    def step(self) -> int:
        """Where the training is."""
        return int(re.search(r"step ([\d,]+) of", self.progress())[1].replace(",", ""))

    def progress(self) -> str:
        return self.root.locator(".dyn-progress").inner_text()

    def frame(self) -> int:
        """The number of the frame that is drawn."""
        return self.page.evaluate(
            self._in("Number(ROOT.querySelector('.dyn-board .dyntoolkit-board')?.dataset.frame ?? 0)")
        )

    def value(self, field: str) -> str:
        """The number beside a slider."""
        return self.root.locator(f".dyn-field-{field} .widget-readout").inner_text()

    def claims(self) -> list[str]:
        return self.root.locator(".dyn-claim").all_inner_texts()

    # What is done.

    def button(self, name: str) -> Locator:
        return self.root.locator(f"button.dyn-{name}")

    def slider(self, field: str) -> Locator:
        return self.root.locator(f".dyn-field-{field} [role=slider]")

    def press(self, field: str, key: str) -> None:
        """A key on a slider's handle; its number changes, else the key before had moved it there already."""
        before = self.value(field)
        self.slider(field).press(key)
        self.page.wait_for_function(
            self._in("([field, old]) => ROOT.querySelector(`.dyn-field-${field} .widget-readout`).textContent !== old"),
            arg=[field, before],
        )

    def moves(self, field: str, end: str) -> bool:
        """Put a field at its first ("Home") or last ("End") value; False if it stood there already."""
        box = self.root.locator(f".dyn-field-{field}")
        if box.locator("input[type=checkbox]").count():
            check = box.locator("input[type=checkbox]")
            before = check.is_checked()
            check.set_checked(end == "End")
            return check.is_checked() != before
        if box.locator("select").count():
            chosen, options = box.locator("select"), box.locator("select option").count()
            before = chosen.input_value()
            chosen.select_option(index=options - 1 if end == "End" else 0)
            return chosen.input_value() != before
        before = self.value(field)
        self.slider(field).press(end)
        self.page.evaluate("() => new Promise(requestAnimationFrame)")  # the number is that of the handle
        return self.value(field) != before

    def on_the_same_page(self, experiment: str) -> "Dashboard":
        """The dashboard of another experiment."""
        return Dashboard(self.page, experiment)

    def show_more_settings(self, title: str = "More settings") -> None:
        closed = self.root.get_by_role("button", name=f"▸ {title}")
        if closed.count():
            closed.press("Enter")
        self.root.locator(".dyn-more .dyn-field:visible").first.wait_for()

    @contextmanager
    def run_to_the_end(self, what: str = "seed") -> Iterator[None]:
        """Wait for the end of the run that is begun inside, with its last frame drawn."""
        frame = self.frame()
        yield
        self.wait_until_finished(frame, what)

    # What is waited for.

    def wait_until_finished(self, frame: int = 0, what: str = "seed") -> None:
        """`what` is finished and judged, and a frame after number `frame` shows its last step."""
        self.page.wait_for_function(self._in(FINISHED), arg=[frame, what])

    def wait_until_finished_elsewhere(self, frame: int, step: str) -> None:
        """As `wait_until_finished`, for a run that ends at another step than this one."""
        ends = "ROOT.querySelector('.dyn-board .dyntoolkit-board').dataset.step !== step"
        self.page.wait_for_function(
            self._in(f"([frame, what, step]) => ({FINISHED})([frame, what]) && {ends}"), arg=[frame, "seed", step]
        )

    def wait_until_finished_or_alarmed(self, frame: int, alarm: str = "") -> None:
        """The run begun after frame number `frame` is finished, or there is an error line, another one than `alarm`."""
        alarmed = "!['', alarm].includes(ROOT.querySelector('.dyn-status [role=alert]').textContent)"
        self.page.wait_for_function(
            self._in(f"([frame, what, alarm]) => ({FINISHED})([frame, what]) || {alarmed}"), arg=[frame, "seed", alarm]
        )

    def wait_until_drawn(self) -> None:
        """Every panel shows something; in the midst of a redraw it may not."""
        self.page.wait_for_function(self._in(f"{EMPTY}.length === 0"))

    def wait_for_new_curve(self, before: list[str]) -> None:
        """There is a curve, of two points at least, that is not among `before`."""
        self.page.wait_for_function(self._in(CHANGED), arg=before, polling=50)

    def wait_for_step_after(self, step: int) -> None:
        self.page.wait_for_function(
            self._in(
                "(step) => Number(ROOT.querySelector('.dyn-progress').textContent"
                ".match(/step ([\\d,]+) of/)?.[1].replaceAll(',', '')) > step"
            ),
            arg=step,
        )

    def wait_for_status(self, start: str) -> None:
        self.wait_for_text(".dyn-status [role=status]", start)

    def wait_for_alarm(self, start: str) -> None:
        self.wait_for_text(".dyn-status [role=alert]", start)

    def wait_for_value(self, field: str, value: str) -> None:
        """The number beside a slider is this one."""
        self.root.locator(f".dyn-field-{field} .widget-readout").get_by_text(value, exact=True).wait_for()

    def wait_for_text(self, selector: str, start: str) -> None:
        """The text of the first such element begins like this."""
        self.page.wait_for_function(
            self._in("([selector, start]) => ROOT.querySelector(selector)?.textContent.startsWith(start)"),
            arg=[selector, start],
        )
