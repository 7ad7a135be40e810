"""The dashboard of any experiment: controls, presets, buttons, the live figure, status and claims."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
from IPython.display import display

from dyntoolkit.dashboard import headless
from dyntoolkit.dashboard.beside import Beside
from dyntoolkit.dashboard.board import Board
from dyntoolkit.dashboard.carried import carried, same_fields
from dyntoolkit.dashboard.claims_view import FURTHER, claims_html
from dyntoolkit.dashboard.compare_section import CompareSection
from dyntoolkit.dashboard.file_row import FileRow
from dyntoolkit.dashboard.history_view import HistoryView
from dyntoolkit.dashboard.layout import claims_box, close_all, fill, lay_out, view_box
from dyntoolkit.dashboard.link import link, settings_words
from dyntoolkit.dashboard.linked import Linked
from dyntoolkit.dashboard.live_picture import LivePicture, run_png
from dyntoolkit.dashboard.monitor import Monitor
from dyntoolkit.dashboard.parameters import MAX_SEEDS
from dyntoolkit.dashboard.pin_table import PinsBox
from dyntoolkit.dashboard.pins import Pin, added
from dyntoolkit.dashboard.placeholder import Placeholder
from dyntoolkit.dashboard.presets import Presets
from dyntoolkit.dashboard.restoring import Restoring
from dyntoolkit.dashboard.runner import Job, Progress, Runner, State
from dyntoolkit.dashboard.save import Finished
from dyntoolkit.dashboard.share import Share
from dyntoolkit.dashboard.slider_map import quantities
from dyntoolkit.dashboard.sliders import SliderPanel
from dyntoolkit.dashboard.snippets import rerun_snippet
from dyntoolkit.dashboard.take_away import TakeAway
from dyntoolkit.dashboard.time_lapse import TimeLapse
from dyntoolkit.dashboard.trained_map import TrainedMap
from dyntoolkit.dashboard.work import Work
from dyntoolkit.engine.choice import preload
from dyntoolkit.engine.history import History, Live
from dyntoolkit.errors import InputError, problem_words
from dyntoolkit.experiment import Experiment
from dyntoolkit.experiment.config import Config, watched
from dyntoolkit.experiment.judging import Verdict, judge_history
from dyntoolkit.experiment.plan import Plan
from dyntoolkit.experiment.record import FILE_LIMIT
from dyntoolkit.experiment.training import Start
from dyntoolkit.experiment.words import divergence_words, seeds_words

ENDED = "Ended: its variable now holds something else."


class Dashboard:
    """An experiment with its sliders; moving one trains the network anew, in a thread of its own.

    claims: the verdicts on the newest run, [] until it is finished. config, seeds: of that run. earlier: whose place it
    takes; what was moved there stays where it is, as `moved` says. pins: the runs that are pinned. original: the
    experiment as it was asked for; `experiment` is what it has become by a reader's file of data (see `use_file`).
    plain: the link to what a page shows whose address says nothing.

    Its widgets are made when one of them is first asked for, be it by a reader who comes near (`train_when_near`), a
    button elsewhere, or Python: the attributes below, and `box`, which holds them all.
    """

    board: Board
    sweep_board: Board
    map_board: Board
    monitor: Monitor
    view: HistoryView
    lapse: TimeLapse
    file_row: FileRow | None
    sliders: SliderPanel
    presets: Presets
    seed: Any
    n_seeds: Any
    buttons: dict[str, Any]
    actions: dict[str, Any]
    controls_run: Any
    map_run: Any
    map: Any
    compare: CompareSection
    share: Share
    take_away: TakeAway
    claims_html: Any

    def __init__(
        self,
        experiment: Experiment,
        config: Any = None,
        seed: int = 0,
        n_seeds: int = 1,
        earlier: "Dashboard | None" = None,
        pins: Sequence[Pin] = (),
    ) -> None:
        preload()
        _check_presets(experiment)  # a wrong one is said here, in the cell that asks, not when its button is made
        self.experiment = self.original = experiment
        self.first: Any = experiment.configure() if config is None else config  # what it was asked for
        self._start = (seed, n_seeds)
        self.config: Any = earlier.moved(self.first) if earlier else self.first
        seed, n_seeds = earlier.moved_seeds(self._start) if earlier else self._start
        self.seeds = tuple(range(seed, seed + n_seeds))
        self.claims: list[Verdict] = []
        self.runner = Runner()
        self._said = threading.Lock()  # guards `_work` and what is said about it
        self._work: Work | None = None  # the newest job; what an older one has to say is not heard any more
        self._refused = ""  # why a file of the reader's was not taken; said until the next run
        self._quiet = False  # while widgets are set by the dashboard itself
        self._building = threading.RLock()  # guards the two below, and is held while runs begin
        self._built = False
        self._first_pins = tuple(pins)
        self.plain = link(experiment, self.first, self.seeds)
        self.beside = Beside(self)
        self._restoring: Restoring | None = None  # what a link compares
        self._elsewhere: list[tuple[Any, Callable[[], Any]]] = []  # boxes in other cells, and what is to be in them
        self._shown_by = ""  # the execution of a cell that has displayed it
        self._place = widgets.Box().add_class(f"dyn-experiment-{experiment.name.replace('.', '-')}")
        self._picture = LivePicture(f"{experiment.title}: a picture of one run")
        self._placeholder: Placeholder | None = None  # waits, unless it is heard, for a reader to come near

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """A widget of a dashboard that is not built yet."""
            if name in Dashboard.__annotations__:
                self.build()
                if name in self.__dict__:
                    return self.__dict__[name]
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def follow(self, linked: Linked) -> None:
        """Begin with what a link asks for, before anything is built; what it compares is trained after its run."""
        self.config, self.seeds = linked.run.config, linked.run.seeds
        self._restoring = Restoring(self, linked)

    @property
    def box(self) -> Any:
        """The widget to display."""
        self.build()
        return self._place

    def build(self) -> None:
        """Make the widgets, if that is not done yet, in place of what holds their place on the page."""
        with self._building:
            if self._built:
                return
            self._built = True
            self._make()
            self._set_up(self.config)
            self.show_shared()
            self._connect()
            self._lay_out()
            with self._place.hold_sync():
                self._place.children = [self._placeholder, self._grid] if self._placeholder else [self._grid]
                self._place.remove_class("dyn-placeholder").add_class("dyn-dashboard")
            for box, part in self._elsewhere:
                fill(box, part())
            if self.runner.closed:
                self._switch_off()
            elif self._waits:
                self.monitor.status.say("Trains as soon as it is in sight.")

    @property
    def _waits(self) -> bool:
        """Whether it trains once a reader comes near."""
        return self._placeholder is not None and not self._placeholder.heard

    @property
    def history(self) -> History | None:
        """The newest history, growing while a run goes on; None before the first frame."""
        return self.view.history if self._built else None

    @property
    def pins(self) -> tuple[Pin, ...]:
        """The pinned runs, the newest one last."""
        return self.view.pins if self._built else self._first_pins

    @property
    def finished(self) -> bool:
        """Whether the run of the settings shown is trained and judged."""
        history = self.history
        if history is None or not history.done or (history.config, history.seeds) != (self.config, self.seeds):
            return False
        return bool(self.claims) or not self.experiment.claims

    # What the buttons and sliders do; also for Python.

    def train(self, *, step: bool = False) -> None:
        """Train the settings shown, from the start (to the first measured frame with `step`); wrong ones are said."""
        with self._building:
            try:
                config = self.experiment.config(**self.sliders.values())
            except Exception as problem:  # an InputError, or a mistake in the reader's own rules between fields
                self._take_over()
                self.runner.stop()
                self._say_problem(problem)
                return
            work = self._take_over()
            self.config, self.seeds = config, self._seeds()
            self.claims = []
            self.sweep_board.layout.display = "none"
            self.claims_html.value = claims_html(self.experiment.claims)
            self._show_settings()
            job = self._job(work, seeds_words(self.seeds), [work.begin(config, self.seeds)], self._judge)
            self.runner.submit(replace(job, hears=True), step=step)

    def watch(self) -> bool:
        """Go on with the present run if what the sliders show differs in what is watched only; False if it does not."""
        with self._building:
            try:
                config = self.experiment.config(**self.sliders.values())
            except Exception:  # `train` says it
                return False
            live = watched(self.config, config)
            if not live or self._seeds() != self.seeds or not self.runner.watch(Live(live)):
                return False
            self.config = config
            self._show_settings()
            return True

    def use_file(self, name: str, content: bytes) -> None:
        """Become the dashboard of the experiment on this file of data, and train; a wrong file is said, and no more.

        Sliders that were moved stay where they are, but for those whose defaults the file changes.
        """
        try:
            experiment = self.original.with_file(name, content)
            _check_presets(experiment)
        except Exception as problem:  # an InputError, or a mistake in the reader's own code
            self.refuse(problem_words(problem))
            return
        with self._building:
            if self.runner.closed:
                return
            same = same_fields(self.experiment.config(), experiment.config())
            config = carried(self.sliders.values(), self.experiment.configure(), experiment.configure(), same)
            self._take_over()
            self.beside.give_up()  # it is of the data before
            self.experiment = experiment
            self.view.clear()
            self._set_up(config)
            if self.file_row:
                self.file_row.file = name
            self._grid.children = self._parts()
            for box, part in self._elsewhere:
                fill(box, part())
            self.train()

    def train_when_near(self) -> None:
        """Build it and train once a reader comes near (of several dashboards on a page, those that are looked at)."""
        title, question = self.experiment.title, self.experiment.question
        self._placeholder = Placeholder(self.train, title, question, self._picture.png)
        self._place.add_class("dyn-placeholder").children = [self._placeholder]

    def train_controls(self) -> None:
        """Train what the claims need beyond the present run, controls and sweeps (and it, if it is not finished)."""
        plan = Plan(self.experiment, self.config, self.seeds)
        finished = [self.history] if self.finished and self.history is not None else []
        work = self._take_over()
        stages = plan.stages if finished else [work.begin(self.config, self.seeds), *plan.stages]
        job = self._job(work, "negative controls", stages, partial(self._judge_plan, plan, finished))
        self.runner.submit(replace(job, on_history=partial(self._draw_plan, plan, list(finished), work)))

    def train_map(self) -> None:
        """Train the experiment's map around the settings shown, after their own run, if it is not finished.

        What is trained so goes on, after the new run, where a slider is moved meanwhile.
        """
        self._ask(self.beside.train_map)

    def spread(self, field: str, values: str = "8") -> None:
        """Train several values of a slider, likewise: 2 to 16, or those with commas between them; wrong ones are said.

        Their curves and metrics are drawn in the section below the figure.
        """
        self._ask(partial(self.beside.spread, field, values))

    def map_sliders(self, x: str, y: str, of: str) -> None:
        """Train a map of a metric, or of a "claim ID", over two sliders, likewise, finer where it changes."""
        self._ask(partial(self.beside.map_sliders, x, y, of))

    def compared(self) -> dict[str, Any]:
        """What is compared, as plain data: `pins`, and the `spread` and the `map` asked for last, if any."""
        return {"pins": [pin.asdict() for pin in self.pins], **self.beside.told}

    def moved(self, asked: Config) -> Config:
        """The settings `asked` for, with the sliders that were moved here at their values.

        Left out are fields that do not exist any more or refuse the value, and those that are asked for otherwise now.
        """
        shown = self.sliders.values() if self._built else self.config.asdict()
        return carried(shown, self.first, asked, same_fields(self.first, asked))

    def moved_seeds(self, asked: tuple[int, int]) -> tuple[int, int]:
        """The first seed and the number of seeds, likewise."""
        shown = (self.seed.value, self.n_seeds.value) if self._built else (self.seeds[0], len(self.seeds))
        moved = zip(asked, self._start, shown, strict=True)
        seed, n_seeds = (value if wanted == before else wanted for wanted, before, value in moved)
        return seed, n_seeds

    def apply(self, preset: str) -> None:
        """Set a preset's values and train; one that is none of the experiment on the reader's data is said."""
        try:
            self._set(self.experiment.configure(preset))
        except InputError as problem:
            self.refuse(str(problem))

    def reset(self) -> None:
        """Back to the first preset and the first seed."""
        self._quiet = True
        self.seed.value, self.n_seeds.value = self._start
        self._quiet = False
        self._set(self.experiment.configure())

    def pause(self) -> None:
        """Pause, or go on after a pause."""
        if self.runner.progress.state is State.PAUSED:
            self.runner.resume()
        else:
            self.runner.pause()

    def step(self) -> None:
        """Go on to the next measured frame and pause there; begin a run if there is none."""
        if self.runner.progress.state in (State.RUNNING, State.PAUSED):
            self.runner.step()
        else:
            self.train(step=True)

    def act(self, action: str) -> None:
        """Do this in the present run at the next moment that allows it; in a new run, if none is going on."""
        if self.runner.progress.state not in (State.RUNNING, State.PAUSED, State.WAITING):
            self.train()
        self.runner.act(action)

    def stop(self) -> None:
        """End the run; figure and history stay."""
        self.beside.give_up()
        if self._restoring:
            self._restoring.give_up()
        self.runner.stop()

    def pin(self) -> None:
        """Keep the present run, as far as it is trained, beside those to come."""
        if self.history is not None and self.view.of is not None:
            self.keep(Pin(self.view.of.experiment, self.history, self.claims))

    def unpin(self, numbers: Sequence[int]) -> None:
        """Let go of the pinned runs of these numbers, counted from 0."""
        with self._building:
            self.view.keep([pin for number, pin in enumerate(self.pins) if number not in numbers])
            self._show_pins()

    def pin_control(self) -> None:
        """Train the first negative control of the claims that is not pinned yet, and pin it."""
        self._ask(self.beside.pin_control)

    def close(self) -> None:
        """End the worker and take the widgets from the page."""
        self._take_over()
        self.runner.close()
        if self._built:
            self.lapse.pause()
            close_all(self._claims_box)
            close_all(self.map)
        for box in (self._place, *(box for box, _ in self._elsewhere)):
            close_all(box)

    def retire(self) -> None:
        """End the worker; the figure stays in sight, the controls are switched off."""
        self._take_over()
        self.runner.close()
        if self._built:
            self._switch_off()
        elif self._placeholder:
            self._placeholder.text = ENDED

    def elsewhere(self, part: Callable[[], Any]) -> Any:
        """A second view of one of this dashboard's widgets, `part()`, for another cell; it closes with the dashboard.

        Where a reader comes near it, the dashboard is built, and trains no sooner for that.
        """
        box = widgets.VBox()
        with self._building:
            self._elsewhere.append((box, part))
            if self._built:
                fill(box, part())
            else:
                box.add_class("dyn-placeholder").add_class("dyn-second-view").children = [Placeholder(self.build)]
        return box

    def show(self) -> None:
        """Display the dashboard in the present cell, or what holds its place."""
        self._shown_by = headless.execution()
        if not self._waits:
            self.build()
        display(self._place)  # type: ignore[no-untyped-call]
        self._picture.show()

    def _ipython_display_(self) -> None:
        if not self._shown_by or self._shown_by != headless.execution():
            self.show()

    def _seeds(self) -> tuple[int, ...]:
        """The seeds shown."""
        return tuple(range(self.seed.value, self.seed.value + self.n_seeds.value))

    def _show_settings(self) -> None:
        """Which preset the settings are, and what replays them."""
        self.presets.highlight(self.config)
        self._show_pins()
        self.monitor.status.settings = settings_words(self.config)

    def _taken(self) -> Finished | None:
        """The run shown, as far as it is trained."""
        history, work = self.history, self.view.of
        if history is None or work is None or not history.names():
            return None
        return Finished(work.experiment, history.until(history.step), self.claims or None, self.pins)

    def show_shared(self) -> None:
        """What replays the settings shown and what is compared with them: the page's address, and what is copied."""
        file = self.file_row.file if self.file_row else ""
        self.share.show(self.original, self.experiment, file, self.config, self.seeds, self.compared())
        self.take_away.train, self.take_away.rerun = self.share.command, rerun_snippet(self.experiment)
        self.monitor.status.link = self.share.query

    def _choose(self, settings: Mapping[str, Any]) -> None:
        """Set some sliders."""
        try:
            self._set(self.config.replace(**settings))
        except InputError as problem:
            self.refuse(str(problem))

    def _quantities(self) -> list[str]:
        """What a map can show; nothing until a run is finished."""
        history = self.history
        return quantities(self.experiment, history) if history is not None and history.done else []

    def _set(self, config: Config) -> None:
        if not self.sliders.set(config):
            self.train()

    def _ask(self, ask: Callable[[], None]) -> None:
        """Have something trained beside the own run; what is wrong with it is said."""
        with self._building:
            try:
                ask()
            except InputError as problem:
                self.refuse(str(problem))

    def train_others(
        self,
        what: str,
        stages: Sequence[Start],
        draw: Callable[[History], None],
        end: Callable[[list[History]], None],
    ) -> Work:
        """Train these stages, of which none is the own run, in place of what is trained now.

        what: the status calls them so. draw(history), end(histories): called in the worker's thread, the one as long as
        nothing else is trained.
        """
        work = self._take_over()
        job = self._job(work, what, stages, lambda _, histories: end(histories))
        self.runner.submit(replace(job, on_history=partial(self._draw_others, work, draw)))
        return work

    # What the worker does; everything below up to `_connect` runs in its thread.

    def _job(self, work: Work, what: str, stages: Sequence[Start], end: Callable[..., None]) -> Job:
        tell, fail = partial(self._tell, work, what), partial(self._fail, work)
        return Job(stages, partial(self._draw, work), tell, partial(self._end, work, end), fail)

    def _end(self, work: Work, end: Callable[..., None], histories: list[History]) -> None:
        end(work, histories)
        with self._building:
            if self._work is work and not self.beside.go_on() and self._restoring:
                self._restoring.go_on()

    def _draw(self, work: Work, history: History) -> None:
        if self._work is work and history is work.own:
            self.view.extend(work, history)

    def _say_problem(self, problem: Exception) -> None:
        self.monitor.status.say(problem_words(problem), error=True)

    def refuse(self, sentence: str) -> None:
        """Say, until the next run begins, why something of the reader's was not taken."""
        with self._said:
            self._refused = sentence
            self.monitor.status.say(sentence, error=True)

    def _draw_plan(self, plan: Plan, done: list[History], work: Work, history: History) -> None:
        """The own run as ever; and, run by run as they finish, the figure of all of them."""
        self._draw(work, history)
        if self._work is work and history.done and work.experiment.sweep_panels is not None:
            done.append(history)
            self.sweep_board.show(work.experiment.sweep_panels(plan.rows(done)))
            self.sweep_board.layout.display = "block"

    def _draw_others(self, work: Work, draw: Callable[[History], None], history: History) -> None:
        if self._work is work:
            draw(history)

    def show_map(self, grid: TrainedMap) -> None:
        """The experiment's map, as far as it is trained."""
        self.map_board.show([grid.panel()])
        self.map_board.layout.display = "block"

    def _tell(self, work: Work, what: str, progress: Progress) -> None:
        with self._said:
            if self._work is not work:
                return
            self.monitor.show(progress)
            self.buttons["pause"].description = "Resume" if progress.state is State.PAUSED else "Pause"
            trouble = self._refused or (divergence_words(self.history) if self.history and self.view.of is work else "")
            self.monitor.status.say(trouble or self._words(what, progress), error=bool(trouble))
            if progress.state is State.STOPPED and not self.claims:
                note = f"stopped at step {progress.step:,}: not judged"
                self.claims_html.value = claims_html(self.experiment.claims, note=note)

    def _words(self, what: str, progress: Progress) -> str:
        """The status line of a healthy run."""
        end = f" after {progress.seconds:.1f} s" if progress.state is State.FINISHED else ""
        words = [f"{progress.state.value.capitalize()}: {what}{end}."]
        if (actions := self.experiment.actions) and (chosen := self.runner.action):
            words.append(f"{actions.when}: {actions.labels[chosen]}.")
        if later := [other for other in self.beside.waiting if other != what]:
            words.append(f"Then: {', '.join(later)}.")
        return " ".join([*words, *self.config.warnings()])

    def _judge(self, work: Work, histories: list[History]) -> None:
        with self._building:
            if self._work is work and self.config != histories[0].config:  # what is to be watched came too late
                self.train()
                return
        verdicts = judge_history(work.experiment, histories[0])
        self._show_claims(work, verdicts)
        if self._work is work:
            self.compare.renew()
        with self._said:
            if self._work is work:
                self._picture.draw_soon(partial(run_png, work.experiment, histories[0], verdicts))

    def keep(self, pin: Pin) -> None:
        """Pin this run; where there is no room for it, that is said."""
        with self._building:
            try:
                self.view.keep(added(self.pins, pin))
            except InputError as problem:
                self.refuse(str(problem))
            self._show_pins()

    def _show_pins(self) -> None:
        """Where the pinned runs and the present one differ, below the figure; nothing where none is pinned."""
        self.show_shared()
        self._pins_table.show(self.pins, self.config, self.seeds, self.claims)

    def _judge_plan(self, plan: Plan, finished: list[History], work: Work, histories: list[History]) -> None:
        self._show_claims(work, plan.verdicts([*finished, *histories]))

    def _show_claims(self, work: Work, verdicts: list[Verdict]) -> None:
        with self._said:
            if self._work is work:
                self.claims = verdicts
                self.claims_html.value = claims_html(work.experiment.claims, verdicts, FURTHER)
                self._show_pins()

    def _fail(self, work: Work, problem: Exception) -> None:
        with self._said:
            if self._work is work:
                self._say_problem(problem)
        self.beside.fail(work)

    # How the widgets are made and put together.

    def _make(self) -> None:
        experiment = self.experiment
        self.board = Board(f"{experiment.title}: {experiment.question}")
        self.sweep_board = Board(f"{experiment.title}: the runs of the claims")
        self.sweep_board.layout.display = "none"  # until there is something to see
        self.map_board = Board(f"{experiment.title}: the map")
        self.map_board.layout.display = "none"
        self.monitor = Monitor()
        self.view = HistoryView(self.board, self._say_problem)
        self.view.pins = self._first_pins
        self.lapse = self.view.lapse
        self.file_row = FileRow(FILE_LIMIT, self.use_file, self.refuse) if experiment.file else None
        self.seed = widgets.BoundedIntText(self.seeds[0], min=0, max=2**32 - 1, description="Seed")
        self.n_seeds = widgets.IntSlider(len(self.seeds), min=1, max=MAX_SEEDS, description="Number of seeds")
        self._seed_fields = widgets.VBox([self.seed, self.n_seeds]).add_class("dyn-seeds")
        self._settings = widgets.VBox().add_class("dyn-controls")
        acts = {"run": self.train, "pause": self.pause, "step": self.step, "stop": self.stop}
        acts |= {"reset": self.reset, "pin": self.pin}
        if any(claim.controls for claim in experiment.claims):
            acts["control"] = self.pin_control
        self.buttons = {name: self._button(name, name.capitalize(), act) for name, act in acts.items()}
        self.compare = CompareSection(self.spread, self.map_sliders, self._choose, self._quantities)
        self.share = Share(self.plain)
        self.take_away = TakeAway(self._taken)
        self._pins_table = PinsBox(self.unpin)
        labels = experiment.actions.labels if experiment.actions else {}
        self.actions = {
            name: self._button(f"act-{name}", label, partial(self.act, name)) for name, label in labels.items()
        }
        self.controls_run = self._button("controls-run", "Run the negative controls", self.train_controls)
        self.map_run = self._button("map-run", "Train the map", self.train_map)
        self.map = widgets.VBox([self.map_run, self.map_board.add_class("dyn-sweep")]).add_class("dyn-map")
        self.claims_html = widgets.HTML(claims_html(experiment.claims)).add_class("dyn-claims")

    def _set_up(self, config: Config) -> None:
        """Sliders and presets of the present experiment, in place of those that were there."""
        self.sliders = SliderPanel(config)
        self.sliders.on_change(self._moved)
        self.presets = Presets(self.experiment, self.apply)
        self.presets.highlight(config)
        self.compare.offer(config)
        before, first = self._settings.children, [self.file_row] if self.file_row else []
        parts = [*first, self.sliders.main, self.presets.box, self._seed_fields, self.sliders.more]
        self._settings.children = parts
        for part in before:
            if part not in parts:
                close_all(part)

    def _lay_out(self) -> None:
        """All widgets in one box, except the map, which has a cell of its own."""
        when = self.experiment.actions.when if self.experiment.actions else ""
        self._view_box = view_box(
            self.buttons.values(), self.monitor, self.board, list(self.actions.values()), when, self.view.lapse
        )
        self._view_box.children += (self._pins_table.box, self.compare.box, self.share, self.take_away)
        self._claims_box = claims_box(self.claims_html, self.controls_run, self.sweep_board)
        self._grid = lay_out(self._parts())

    def _parts(self) -> list[Any]:
        parts = [self._view_box, self._settings]
        return [*parts, self._claims_box] if self.experiment.claims else parts

    def _switch_off(self) -> None:
        self.sliders.disable()
        self.compare.disable()
        others = (
            *self.buttons.values(),
            *self.actions.values(),
            *self.presets.buttons.values(),
            self.controls_run,
            self.map_run,
        )
        for widget in (*others, self.seed, self.n_seeds, *([self.file_row] if self.file_row else [])):
            widget.disabled = True
        self.monitor.status.say(ENDED)

    def _take_over(self) -> Work:
        """Make all earlier work unheard."""
        if self._placeholder:
            self._placeholder.heard = True
        with self._said:
            self._work = work = Work(self.experiment)
            self._refused = ""
            self._picture.keep()
            return work

    def _listen(self, _board: object, message: dict[str, Any], _buffers: object) -> None:
        """The board came up on a page: what the worker said while the page was being opened may have missed it, so
        say it again.
        """
        if message.get("kind") == "attach":
            monitor = self.monitor
            for widget in (monitor.status, monitor.bar, monitor.numbers, self.claims_html, self.buttons["pause"]):
                widget.send_state()

    def _connect(self) -> None:
        for name, widget in (("seed", self.seed), ("n_seeds", self.n_seeds)):
            widget.add_class("dyn-field").add_class(f"dyn-field-{name}")
            widget.observe(self._seed_moved, "value")
        self.board.on_msg(self._listen)

    def _moved(self) -> None:
        if not self.watch():
            self.train()

    def _seed_moved(self, _change: object) -> None:
        if not self._quiet:
            self.train()

    def _button(self, name: str, label: str, act: Callable[[], None]) -> Any:
        button = widgets.Button(description=label).add_class(f"dyn-{name}")
        button.on_click(lambda _: act())
        return button


def _check_presets(experiment: Experiment) -> None:
    for preset in experiment.presets:
        experiment.configure(preset)
