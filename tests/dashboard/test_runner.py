"""The worker thread: newest job wins, pause, step, stop, errors, and when the history is shown."""

import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from dyntoolkit.dashboard import runner as runner_module
from dyntoolkit.dashboard.runner import Job, Runner, State
from dyntoolkit.engine.history import Frame, History

NOBODY = np.array([-1])


class Bench:
    """A simulation whose frames come only when the test lets them, and a record of what the runner says."""

    def __init__(self, frames, free=True):
        self.frames, self.gate = frames, threading.Semaphore(10**6 if free else 0)
        self.starts, self.closed, self.pulled = 0, 0, 0
        self.drawn, self.states, self.ends, self.errors = [], [], [], []

    def simulate(self):
        self.starts += 1
        try:
            for step, measured in self.frames:
                self.gate.acquire()
                self.pulled += 1
                yield Frame(step, self.frames[-1][0], {"x": np.array([float(step)])} if measured else {}, NOBODY)
        finally:
            self.closed += 1

    def start(self):
        return History("bench", [None], [0]), self.simulate()

    def job(self, stages=1):
        return Job(
            [self.start] * stages,
            lambda history: self.drawn.append((history.step, len(history.at("x")))),
            lambda progress: self.states.append(progress),
            lambda histories: self.ends.append(histories),
            self.errors.append,
        )


@pytest.fixture
def runner():
    runner = Runner()
    yield runner
    runner.close()
    runner.join(60)


@pytest.fixture
def clock(monkeypatch):
    """What the runner takes for the time: clock.now, in seconds, stands still unless a test moves it."""
    clock = SimpleNamespace(now=100.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(runner_module, "time", clock)
    return clock


def finished(runner):
    return lambda: runner.progress.state is State.FINISHED


@pytest.mark.usefixtures("clock")
def test_a_job_runs_to_its_end(runner, until):
    bench = Bench([(0, True), (8, False), (16, True), (24, True)])
    runner.submit(bench.job())
    until(finished(runner))
    assert [len(h.at("x")) for h in bench.ends[0]] == [3]
    assert bench.drawn == [(16, 2), (24, 3)]  # the first two measured frames at once, and the end
    assert bench.closed == 1
    assert (runner.progress.step, runner.progress.total) == (24, 24)


def test_a_slow_simulation_is_shown_before_its_second_measurement(runner, until):
    bench = Bench([(k, k == 0) for k in range(10**6)])
    runner.submit(bench.job())
    until(lambda: bench.drawn)
    assert bench.drawn[0][1] == 1


def test_drawing_is_throttled(runner, until):
    bench = Bench([(k, True) for k in range(2001)])
    runner.submit(bench.job())
    until(finished(runner))
    assert len(bench.drawn) <= 2 + runner.progress.seconds / 0.1


@pytest.mark.usefixtures("long_debounce")
def test_many_requests_start_one_run_with_the_newest(runner, until):
    benches = [Bench([(0, True), (1, True)]) for _ in range(20)]
    for bench in benches:
        runner.submit(bench.job())
    until(finished(runner))
    assert [bench.starts for bench in benches] == [0] * 19 + [1]


def test_a_new_request_replaces_a_running_job_silently(runner, until):
    old, new = Bench([(k, True) for k in range(10**6)]), Bench([(0, True), (1, True)])
    runner.submit(old.job())
    until(lambda: old.pulled > 10)
    runner.submit(new.job())
    until(lambda: new.ends)
    assert old.closed == 1
    assert not old.ends
    assert {progress.state for progress in old.states} == {State.RUNNING}


def test_stop_closes_the_generator_and_keeps_the_history(runner, until):
    bench = Bench([(k, True) for k in range(10**6)])
    runner.submit(bench.job())
    until(lambda: bench.pulled > 10)
    runner.stop()
    until(lambda: runner.progress.state is State.STOPPED)
    assert bench.closed == 1
    assert not bench.ends
    step, rows = bench.drawn[-1]
    assert rows == step + 1 == bench.pulled == runner.progress.step + 1


@pytest.mark.usefixtures("long_debounce")
def test_stop_before_the_job_began(runner, until):
    bench, later = Bench([(0, True), (1, True)]), Bench([(0, True), (1, True)])
    runner.submit(bench.job())
    runner.stop()
    assert runner.progress.state is State.STOPPED
    runner.submit(later.job())
    until(finished(runner))
    assert (bench.starts, later.starts) == (0, 1)


def test_pause_step_resume(runner, until):
    bench = Bench([(k, k % 8 == 0) for k in range(81)], free=False)
    runner.submit(bench.job())
    bench.gate.release(3)
    until(lambda: bench.pulled == 3)
    runner.pause()
    bench.gate.release(10**6)
    until(lambda: runner.progress.state is State.PAUSED)
    pulled = bench.pulled
    for step in (8, 16):
        runner.step()
        until(lambda step=step: runner.progress.state is State.PAUSED and runner.progress.step == step)
        assert bench.drawn[-1][0] == step
    assert pulled <= 4
    assert bench.pulled == 17
    runner.resume()
    until(finished(runner))


def test_a_job_can_begin_with_one_step(runner, until):
    bench = Bench([(k, True) for k in range(9)])
    runner.submit(bench.job(), step=True)
    until(lambda: runner.progress.state is State.PAUSED)
    assert bench.pulled == 1
    assert bench.drawn == [(0, 1)]


def test_a_new_request_ends_a_pause(runner, until):
    old, new = Bench([(k, True) for k in range(9)]), Bench([(0, True), (1, True)])
    runner.submit(old.job(), step=True)
    until(lambda: runner.progress.state is State.PAUSED)
    runner.submit(new.job())
    until(finished(runner))
    assert new.ends


def test_stop_ends_a_pause(runner, until):
    bench = Bench([(k, True) for k in range(9)])
    runner.submit(bench.job(), step=True)
    until(lambda: runner.progress.state is State.PAUSED)
    runner.stop()
    until(lambda: runner.progress.state is State.STOPPED)
    assert bench.closed == 1


def test_the_time_of_a_pause_is_not_counted(runner, clock, until):
    def simulate():
        for step in range(9):
            clock.now += 2
            yield Frame(step, 8, {"x": np.array([float(step)])}, NOBODY)

    job = replace(Bench([]).job(), stages=[lambda: (History("bench", [None], [0]), simulate())])
    runner.submit(job, step=True)
    until(lambda: runner.progress.state is State.PAUSED)
    assert runner.progress.seconds == 2
    clock.now += 1000
    runner.step()
    until(lambda: runner.progress.step == 1 and runner.progress.state is State.PAUSED)
    assert runner.progress.seconds == 4


def test_an_error_is_told_and_the_next_job_works(runner, until):
    def broken():
        raise ZeroDivisionError("no such network")

    bad, good = Bench([(0, True)]), Bench([(0, True), (1, True)])
    job = bad.job()
    runner.submit(Job([broken], job.on_history, job.on_progress, job.on_end, job.on_error))
    until(lambda: bad.errors)
    assert runner.progress.state is State.FAILED
    assert "no such network" in str(bad.errors[0])
    runner.submit(good.job())
    until(lambda: good.ends)


def test_an_error_in_a_frame_closes_nothing_else(runner, until):
    bench = Bench([(0, True), ("text", True)])  # a step that is no number fails in the history's progress
    runner.submit(bench.job())
    until(lambda: bench.errors)
    assert bench.closed == 1


def test_an_action_is_done_once_at_the_first_frame_that_asks(runner, until):
    done = []

    def simulate():
        for step in range(1, 400):
            action = yield Frame(step, 400, {"x": np.array([float(step)])}, NOBODY, asks=step % 100 == 0)
            if action is not None:
                done.append((step, action))
        yield Frame(400, 400, {}, NOBODY)

    bench = Bench([])
    job = replace(bench.job(), stages=[lambda: (History("bench", [None], [0]), simulate())])
    runner.submit(job)
    runner.act("halve")
    assert runner.action == "halve"
    until(finished(runner))
    assert done == [(100, "halve")]
    assert runner.action is None
    runner.submit(job)
    runner.act("late")
    runner.submit(job)  # a new request forgets the action that was meant for the run before
    until(lambda: len(bench.ends) == 2)
    assert done == [(100, "halve")]


def test_stages_follow_one_another(runner, until):
    bench = Bench([(0, True), (1, True)])
    runner.submit(bench.job(stages=3))
    until(finished(runner))
    assert len(bench.ends[0]) == 3
    assert (runner.progress.stage, runner.progress.stages) == (3, 3)


def test_the_worker_can_differentiate_and_leaves_the_random_state_alone(runner, until, tiny):
    seen = []

    def start():
        w = torch.ones(1, requires_grad=True)
        (w * w).sum().backward()
        seen.append(w.grad.item())
        return tiny.start([tiny.configure()], [0])

    state = torch.random.get_rng_state()
    bench = Bench([(0, True)])
    job = bench.job()
    with torch.no_grad():
        runner.submit(Job([start], lambda history: None, job.on_progress, job.on_end, job.on_error))
        until(finished(runner))
    assert seen == [2.0]
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_closed_runner_ends_its_thread(until):
    runner, bench = Runner(), Bench([(k, True) for k in range(10**6)])
    runner.submit(bench.job())
    until(lambda: bench.pulled > 10)
    runner.close()
    runner.join(60)
    assert bench.closed == 1
    runner.submit(bench.job())
    assert bench.starts == 1


def test_the_newest_dashboard_trains_first_and_the_older_one_goes_on_afterwards(runner, until):
    old, new = Bench([(k, True) for k in range(40)], free=False), Bench([(0, True), (8, True)], free=False)
    other = Runner()
    try:
        runner.submit(old.job())
        old.gate.release(2)
        until(lambda: old.pulled == 2)
        other.submit(new.job())
        until(lambda: new.starts == 1)
        old.gate.release()
        until(lambda: runner.progress.state is State.WAITING)
        old.gate.release(100)
        time.sleep(0.3)
        assert old.pulled == 3
        new.gate.release(100)
        until(finished(other))
        until(finished(runner))
    finally:
        other.close()
        other.join(60)


def test_a_paused_dashboard_lets_another_one_train(runner, until):
    old, new = Bench([(k, True) for k in range(4000)], free=False), Bench([(0, True), (8, True)])
    other = Runner()
    try:
        runner.submit(old.job())
        old.gate.release(2)
        until(lambda: old.pulled == 2)
        runner.pause()
        old.gate.release()
        until(lambda: runner.progress.state is State.PAUSED)
        other.submit(new.job())
        until(finished(other))
        assert runner.progress.state is State.PAUSED
    finally:
        other.close()
        other.join(60)


def test_a_waiting_dashboard_can_be_stopped(runner, until):
    old, new = Bench([(k, True) for k in range(40)]), Bench([(0, True), (8, True)], free=False)
    other = Runner()
    old.gate = threading.Semaphore(1)
    try:
        runner.submit(old.job())
        until(lambda: old.pulled == 1)
        other.submit(new.job())
        until(lambda: new.starts == 1)
        old.gate.release()
        until(lambda: runner.progress.state is State.WAITING)
        runner.stop()
        until(lambda: runner.progress.state is State.STOPPED)
    finally:
        new.gate.release(100)
        other.close()
        other.join(60)
