from dataclasses import dataclass

import pytest
from tiny_experiment import TINY, TinyConfig

from dyntoolkit.experiment.training import loops, to_the_end

DEFAULT = TINY.configure()


def test_runs_share_a_loop_where_their_structural_fields_agree():
    longer = DEFAULT.replace(steps=30)
    runs = [(DEFAULT, 0), (longer, 0), (DEFAULT.replace(lr=0.1), 7), (longer.replace(law="cubic"), 1)]
    assert loops(runs) == [[runs[0], runs[2]], [runs[1]], [runs[3]]]
    assert loops([]) == []


def test_runs_of_different_experiments_share_no_loop():
    class Other(TinyConfig):
        pass

    runs = [(DEFAULT, 0), (Other(), 0)]
    assert loops(runs) == [[runs[0]], [runs[1]]]


def test_to_the_end_appends_every_frame_and_shows_it_once_it_is_in():
    history, frames = TINY.start([DEFAULT], [0])
    seen = []
    assert to_the_end(history, frames, lambda frame: seen.append((frame.step, history.step))) is history
    assert seen == [(k, k) for k in range(21)]
    assert history.done


def test_what_the_watcher_raises_ends_the_run_after_a_whole_frame():
    @dataclass
    class Stop:
        at: int

        def __call__(self, frame):
            if frame.step == self.at:
                raise KeyboardInterrupt

    history, frames = TINY.start([DEFAULT], [0])
    with pytest.raises(KeyboardInterrupt):
        to_the_end(history, frames, Stop(4))
    assert history.at("x").tolist() == [0, 2, 4]
