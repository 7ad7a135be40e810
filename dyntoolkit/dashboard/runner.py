"""One worker thread that trains what was asked for last, and can be paused, stepped and stopped between two frames."""

import enum
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from dyntoolkit.dashboard.turns import TURNS
from dyntoolkit.engine.history import Frame, History, Live
from dyntoolkit.experiment.training import Start

DEBOUNCE = 0.03  # seconds without a newer request before training starts
DRAW_EVERY = 0.15  # seconds between two drawings
GLANCE = 0.05  # seconds between two looks whether another dashboard's training has ended


class State(enum.Enum):
    """What a runner is doing; the value is the word for the reader."""

    IDLE = "ready"
    RUNNING = "training"
    PAUSED = "paused"
    WAITING = "waiting for another dashboard to finish"
    STOPPED = "stopped"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    rate: steps per second; left: seconds to the end of the stage (NaN: unknown); seconds: spent training. stage,
    stages: which of the job's trainings this is, counted from 1.
    """

    state: State
    step: int = 0
    total: int = 0
    rate: float = math.nan
    left: float = math.nan
    seconds: float = 0.0
    stage: int = 1
    stages: int = 1


@dataclass(frozen=True)
class Job:
    """What to train, stage after stage, and whom to tell. Everything is called from the worker's thread.

    on_history: the growing history, as soon as two measured frames make a curve (or DRAW_EVERY seconds have passed),
    then at most every DRAW_EVERY seconds, and at a stage's end.
    on_end: the histories of all stages, once all are trained. on_error: what went wrong; the next job works.
    hears: whether what is watched may change on the way, and with it the settings of the histories.
    """

    stages: Sequence[Start]
    on_history: Callable[[History], None]
    on_progress: Callable[[Progress], None]
    on_end: Callable[[list[History]], None]
    on_error: Callable[[Exception], None]
    hears: bool = False


class Mode(enum.Enum):
    """What the person at the buttons wants of the present job."""

    RUN = 1
    PAUSE = 2
    STEP = 3  # run to the next measured frame, then pause


class Runner:
    """A mailbox for jobs and the daemon thread that does the newest one.

    All methods return at once and may be called from any thread: they leave the wanted state in the mailbox, and the
    worker looks there between two frames.
    """

    def __init__(self) -> None:
        self.progress = Progress(State.IDLE)
        self._mail = threading.Condition()
        self._job: Job | None = None  # the newest one, not begun yet
        self._generation = 0  # counts requests and stops: work of an older generation drops out
        self._mode = Mode.RUN
        self._action: str | None = None  # what to do as soon as a frame asks
        self._hears = False  # whether the present job can be told what to watch
        self._live: Live | None = None  # what to watch from the next frame on
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, job: Job, *, step: bool = False) -> None:
        """Do this job instead of any other; with `step` only up to its first measured frame, where it pauses."""
        with self._mail:
            if self._closed:
                return
            self._job, self._mode, self._action = job, Mode.STEP if step else Mode.RUN, None
            self._turn()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="dyntoolkit runner", daemon=True)
                self._thread.start()

    def pause(self) -> None:
        """Wait after the present frame."""
        self._want(Mode.PAUSE)

    def resume(self) -> None:
        """Go on after a pause."""
        self._want(Mode.RUN)

    def step(self) -> None:
        """Go on to the next measured frame and pause there."""
        self._want(Mode.STEP)

    def act(self, name: str) -> None:
        """Do this in the present run (or the one just submitted) as soon as one of its frames asks."""
        with self._mail:
            self._action = name

    def watch(self, live: Live) -> bool:
        """Watch this in the present job from its next frame on; False where none goes on that hears."""
        with self._mail:
            if self._hears:
                self._live = live
            return self._hears

    @property
    def action(self) -> str | None:
        """What is to be done as soon as a frame asks."""
        return self._action

    def stop(self) -> None:
        """Give up the present job; its history stays as it is."""
        with self._mail:
            waiting, self._job = self._job, None
            self._turn()
        if waiting is not None:
            self._report(waiting, Progress(State.STOPPED))

    def close(self) -> None:
        """Stop for good and let the thread end."""
        with self._mail:
            self._closed, self._job = True, None
            self._turn()

    @property
    def closed(self) -> bool:
        """Whether it has been stopped for good."""
        return self._closed

    def join(self, timeout: float | None = None) -> None:
        """Wait until the thread of a closed runner has ended."""
        if self._thread is not None:
            self._thread.join(timeout)

    def _want(self, mode: Mode) -> None:
        with self._mail:
            self._mode = mode
            self._mail.notify_all()

    def _turn(self) -> None:
        self._generation += 1
        self._hears, self._live = False, None
        self._mail.notify_all()

    def _report(self, job: Job, progress: Progress) -> None:
        self.progress = progress
        job.on_progress(progress)

    def _work(self) -> None:
        while (taken := self._take()) is not None:
            job, generation = taken
            TURNS.enter(self)
            try:
                self._do(job, generation)
            except Exception as problem:  # it is told to the reader, and the next job must work
                self.progress = Progress(State.FAILED)
                job.on_error(problem)
            finally:
                TURNS.leave(self)

    def _take(self) -> tuple[Job, int] | None:
        """The newest job, once no newer one came for DEBOUNCE seconds; None when closed."""
        with self._mail:
            while not self._closed:
                seen = self._generation
                changed = self._mail.wait_for(partial(self._is_past, seen), DEBOUNCE if self._job else None)
                if not changed and self._job is not None:
                    job, self._job = self._job, None
                    return job, seen
            return None

    def _is_past(self, generation: int) -> bool:
        return self._generation != generation

    def _do(self, job: Job, generation: int) -> None:
        histories: list[History] = []
        progress = Progress(State.RUNNING)
        for stage, start in enumerate(job.stages, 1):
            training = _Training(self, job, generation, stage, progress.seconds)
            histories.append(training.run(start))
            progress = training.progress(State.RUNNING)
            if self._is_past(generation):
                self._given_up(training)
                return
        job.on_end(histories)
        self._report(job, replace(progress, state=State.FINISHED))

    def _given_up(self, training: "_Training") -> None:
        """A stop is reported, with the newest figure; a job that another one replaces ends silently."""
        with self._mail:
            replaced = self._closed or self._job is not None
        if not replaced:
            self._report(training.job, training.progress(State.STOPPED))
            training.show()


@dataclass
class _Training:
    """One stage of a job, pulled frame by frame."""

    runner: Runner
    job: Job
    generation: int
    stage: int
    before: float  # seconds that the earlier stages took
    history: History = field(init=False)
    seconds: float = 0.0  # spent training before `since`
    since: float = field(default_factory=time.monotonic)
    told: float = 0.0  # when the job's owner last heard of it
    news: int = 0  # measured frames that have not been shown yet
    shown: bool = False

    def run(self, start: Start) -> History:
        self.history, frames = start()
        self.since = time.monotonic()
        self.listen(begins=self.job.hears)
        self.tell(State.RUNNING)
        try:
            frame = next(frames, None)
            while frame is not None:
                self.history.append(frame)
                self.news += bool(frame.values)
                is_curve = not self.shown and self.news > 1
                if is_curve or time.monotonic() - self.told >= DRAW_EVERY:
                    self.tell(State.RUNNING)
                if not self.may_go_on(measured=bool(frame.values)):
                    break
                frame = self.pull(frames, asked=frame.asks)
        finally:
            self.listen(begins=False)
            if isinstance(frames, Generator):
                frames.close()
        self.seconds += time.monotonic() - self.since
        self.since = math.inf
        if self.history.done:
            self.show()
        return self.history

    def listen(self, *, begins: bool) -> None:
        """From now on the run can be told what to watch, or no more; what it has not heard by then is dropped."""
        runner = self.runner
        with runner._mail:
            if runner._generation == self.generation:
                runner._hears, runner._live = begins, None

    def pull(self, frames: Iterator[Frame], *, asked: bool) -> Frame | None:
        """The next frame, once told what to watch and which action was chosen for this moment; None at the end."""
        sent = self.news_for_the_run(asked=asked)
        if sent is not None:
            self.history.note(sent)
        if sent is None or not isinstance(frames, Generator):
            return next(frames, None)
        try:
            frame: Frame = frames.send(sent)
        except StopIteration:
            return None
        return frame

    def news_for_the_run(self, *, asked: bool) -> str | Live | None:
        """What to send into it now; one thing at a time, an action first: its moment passes."""
        runner = self.runner
        with runner._mail:
            if asked and runner._action is not None:
                action, runner._action = runner._action, None
                return action
            if runner._generation != self.generation or self.history.done:  # nothing more would be measured
                return None
            live, runner._live = runner._live, None
            return live

    def may_go_on(self, *, measured: bool) -> bool:
        """Wait while paused, or while another dashboard trains; False when the job was given up or replaced."""
        runner = self.runner
        if not TURNS.holds(runner):
            self.wait_for_the_floor()
        if runner._mode is not Mode.RUN and runner._generation == self.generation:
            with runner._mail:
                if runner._mode is Mode.STEP and measured:
                    runner._mode = Mode.PAUSE
                waits = runner._mode is Mode.PAUSE
            if waits:
                TURNS.leave(runner)
                self.wait()
                TURNS.enter(runner)
        return runner._generation == self.generation

    def wait(self) -> None:
        runner = self.runner
        self.seconds += time.monotonic() - self.since
        self.since = math.inf
        self.tell(State.PAUSED)
        with runner._mail:
            runner._mail.wait_for(lambda: runner._mode is not Mode.PAUSE or runner._generation != self.generation)
        self.since = time.monotonic()

    def wait_for_the_floor(self) -> None:
        runner = self.runner
        self.seconds += time.monotonic() - self.since
        self.since = math.inf
        self.tell(State.WAITING)
        while not TURNS.holds(runner) and runner._mode is Mode.RUN and runner._generation == self.generation:
            TURNS.wait(GLANCE)
        self.since = time.monotonic()

    def tell(self, state: State) -> None:
        self.runner._report(self.job, self.progress(state))
        self.show()
        self.told = time.monotonic()

    def show(self) -> None:
        if self.news:
            self.job.on_history(self.history)
            self.news, self.shown = 0, True

    def progress(self, state: State) -> Progress:
        step, total = self.history.step, self.history.total
        seconds = self.seconds + max(0.0, time.monotonic() - self.since)
        rate = step / seconds if step and seconds else math.nan
        left = (total - step) / rate
        return Progress(state, step, total, rate, left, self.before + seconds, self.stage, len(self.job.stages))
