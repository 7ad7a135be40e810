"""What the claims need beyond a run is trained, and nothing twice."""

import dataclasses

from dyntoolkit.experiment.plan import Plan


def train(stages):
    histories = []
    for start in stages:
        history, frames = start()
        for frame in frames:
            history.append(frame)
        histories.append(history)
    return histories


def test_the_plan_trains_the_controls_beside_the_own_run(tiny):
    config, seeds = tiny.configure(), (3, 4)
    plan = Plan(tiny, config, seeds)
    histories = train(plan.stages)
    runs = [(c.lr, seed) for history in histories for c, seed in zip(history.configs, history.seeds, strict=True)]
    assert runs == [(0.001, 3), (0.001, 4)]
    verdicts = plan.verdicts([tiny.run(config, seeds), *histories])
    assert [verdict.id for verdict in verdicts] == ["shrinks", "stays"]
    (control,) = verdicts[0].controls
    assert control.confirmed == (True, True)


def test_no_claims_need_no_training(tiny):
    plan = Plan(dataclasses.replace(tiny, claims=()), tiny.configure(), (0,))
    assert plan.stages == []
    assert plan.verdicts([tiny.run()]) == []
