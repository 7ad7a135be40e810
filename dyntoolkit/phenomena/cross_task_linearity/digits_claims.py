"""The claims of arXiv 2402.03660 as `cross_task_linearity.digits` checks them, with their negative controls.

Where a claim is expected: in the settings in which it was measured to hold for seeds that were not used to write it.
"""

from collections.abc import Sequence

import numpy as np

from dyntoolkit.engine.history import Array
from dyntoolkit.experiment.claims import Claim, Control, Metrics, Sweep, above, below, between, mean_of
from dyntoolkit.phenomena.cross_task_linearity.digits_config import MIXTURE, PIXEL_SHUFFLED, UPRIGHT, Config
from dyntoolkit.probes.linearity import log_slope

NO_PRETRAINING = {"pretrain_steps": 0}
INDEPENDENT = {"shared_init": False, "pretrain_steps": 0}
STEPS = (0, 10, 30, 100, 300, 1000)  # of pretraining, for the sweep of the ratio against the distance


def inside(c: Config, **ranges: tuple[float, float]) -> bool:
    """Whether the named fields lie in these closed ranges."""
    return all(low <= getattr(c, name) <= high for name, (low, high) in ranges.items())


def shares_tasks(c: Config) -> bool:
    """One start, clean labels, tasks that the pretraining saw, and training that neither dies nor stays halfway.

    So narrow that the controls fail there as they should: with smaller steps or weights even networks that share
    no pretraining stay so close to each other that they are nearly linear.
    """
    shared = c.pretrain_data == MIXTURE and c.shared_init and min(abs(c.angle - 30), abs(c.angle - 60)) <= 3
    rates = inside(c, lr=(0.03, 0.05), pretrain_lr=(0.04, 0.1), momentum=(0.85, 0.9), label_noise=(0, 0))
    sizes = inside(c, steps=(100, 1000), batch_size=(64, 64), width=(128, 256), depth=(3, 3), init_scale=(0.9, 1.5))
    return shared and rates and sizes


def linear(c: Config) -> bool:
    """The regime of cross-task linearity: pretrained for long enough."""
    return shares_tasks(c) and inside(c, pretrain_steps=(300, 1000))


def linear_on_the_way(c: Config) -> bool:
    """Averaged well inside the path; at its ends the averaged network is one of the two, and all is trivial."""
    return linear(c) and inside(c, alpha=(0.25, 0.75))


def linear_at_the_middle(c: Config) -> bool:
    """About as far from either network, as two tasks need it."""
    return linear(c) and inside(c, alpha=(0.4, 0.6))


def as_in_the_recipe(c: Config) -> bool:
    """Close to the defaults in all but the pretraining; here the differences to the controls are largest."""
    rates = inside(c, lr=(0.045, 0.05), pretrain_lr=(0.04, 0.06), momentum=(0.89, 0.9), init_scale=(0.98, 1.2))
    sizes = inside(c, steps=(200, 1000), width=(128, 128), angle=(57, 63))
    return shares_tasks(c) and rates and sizes


def recipe_pretrained(c: Config) -> bool:
    """Close to the defaults, the pretraining at least as long."""
    return as_in_the_recipe(c) and linear(c)


def recipe_at_the_middle(c: Config) -> bool:
    """Close to the defaults, whatever the pretraining, averaged about half-way."""
    return as_in_the_recipe(c) and inside(c, alpha=(0.4, 0.6))


def recipe_pretrained_at_the_middle(c: Config) -> bool:
    """Close to the defaults, pretrained at least as long, averaged about half-way."""
    return recipe_at_the_middle(c) and linear(c)


def recipe_apart(c: Config) -> bool:
    """Close to the defaults; longer pretraining would leave the networks too close to each other."""
    return as_in_the_recipe(c) and inside(c, pretrain_steps=(300, 330))


def recipe_half_vectors(c: Config) -> bool:
    """Close to the defaults, with task vectors scaled by about one half."""
    return recipe_pretrained(c) and inside(c, task_scale=(0.5, 0.6))


def recipe_forgets(c: Config) -> bool:
    """Little pretraining and whole task vectors: the preset `arithmetic`."""
    return as_in_the_recipe(c) and inside(c, pretrain_steps=(90, 150), task_scale=(0.9, 1))


def ratio_without_over_with(runs: Sequence[Metrics]) -> Array:
    """Ratio without pretraining, over ratio with 300 steps of it, per seed."""
    without, pretrained = runs
    return without["ratio"] / pretrained["ratio"]


def slope_on_distance(runs: Sequence[Metrics]) -> Array:
    """Slope of ln ratio on ln distance over all pretraining lengths and seeds at once, (1,)."""
    distances, ratios = (np.concatenate([run[name] for run in runs]) for name in ("distance", "ratio"))
    return log_slope(distances, ratios).reshape(1)


CLAIMS = (
    Claim(
        id="ctl_ratio",
        statement="Features are linear in the weights between the fine-tuned networks: the error of the averaged network is a "
        "small part of the difference between the two.",
        metric="ratio",
        bound=below(0.04),
        where=recipe_pretrained_at_the_middle,
        controls=(
            Control("independent", INDEPENDENT, above(0.2)),
            Control("no_pretraining", NO_PRETRAINING, above(0.05)),
        ),
    ),
    Claim(
        id="ctl_nontrivial",
        statement="The two networks do differ, so that linearity says something.",
        metric="base",
        bound=above(0.05),
        where=recipe_apart,
        controls=(Control("pretrain_steps 2000", {"pretrain_steps": 2000}),),
    ),
    Claim(
        id="coef_one",
        statement="The features of the averaged network have the right size, too.",
        metric="coef_last",
        bound=above(0.97),
        where=linear_on_the_way,
        controls=(Control("no_pretraining", NO_PRETRAINING), Control("independent", INDEPENDENT)),
    ),
    Claim(
        id="merged_accuracy",
        statement="The averaged network does both tasks.",
        metric="merged_acc",
        bound=above(0.94),
        where=linear_at_the_middle,
        controls=(Control("no_pretraining", NO_PRETRAINING), Control("independent", INDEPENDENT)),
    ),
    Claim(
        id="merged_equals_ensemble",
        statement="Averaging the weights does as well as averaging the outputs.",
        metric="merged_minus_ensemble",
        bound=above(-0.03),
        where=linear_on_the_way,
        controls=(Control("independent", INDEPENDENT),),
    ),
    Claim(
        id="deviation_parabola",
        statement="Along the path the deviation from linearity follows α(1−α).",
        metric="parabola_r2",
        bound=above(0.98),
        where=linear,
        controls=(Control("pixel_shuffled", {"pretrain_data": PIXEL_SHUFFLED}),),
    ),
    Claim(
        id="deviation_exponent",
        statement="With both networks pulled back to a part s of their way, the deviation shrinks as s^(3/2).",
        metric="deviation_exponent",
        bound=between(1.35, 1.65),
        where=recipe_pretrained,
        controls=(Control("learning rate 0.2", {"lr": 0.2}),),
    ),
    Claim(
        id="addition_linear",
        statement="Adding two task vectors averages their features (λ = ½).",
        metric="addition_ratio",
        bound=below(0.125),
        where=recipe_half_vectors,
        controls=(Control("no_pretraining, mean over 5 seeds", sweep=mean_of("addition_ratio", **NO_PRETRAINING)),),
    ),
    Claim(
        id="negation_linear",
        statement="Features at the start are the mean of those with the task vector added and subtracted (λ = ½).",
        metric="negation_ratio",
        bound=below(0.125),
        where=recipe_half_vectors,
        controls=(Control("no_pretraining, mean over 5 seeds", sweep=mean_of("negation_ratio", **NO_PRETRAINING)),),
    ),
    Claim(
        id="negation_forgets",
        statement="Subtracting a task vector removes its task and harms the other less (λ = 1).",
        metric="target_drop",
        bound=above(0.3),
        where=recipe_forgets,
        preset="arithmetic",
    ),
    Claim(
        id="negation_spares",
        statement="Subtracting a task vector harms the other task less: it loses under 25 points in the mean of 5 seeds.",
        sweep=mean_of("control_drop"),
        bound=below(0.25),
        where=recipe_forgets,
        preset="arithmetic",
    ),
    Claim(
        id="ratio_falls",
        statement="Pretraining makes the fine-tuned networks more linear: the ratio without it, over that with 300 steps.",
        metric="ratio",
        bound=above(2.0),
        where=recipe_at_the_middle,
        controls=(
            Control("upright pretraining", {"pretrain_data": UPRIGHT}, below(1.0)),
            Control("pixel-shuffled task", {"pretrain_data": PIXEL_SHUFFLED}, below(1.0)),
        ),
        sweep=Sweep(({"pretrain_steps": 0}, {"pretrain_steps": 300}), ratio_without_over_with),
    ),
    Claim(
        id="ratio_follows_distance",
        statement="Pretraining acts through the distance of the two networks: the ratio is proportional to it (slope of ln "
        "ratio on ln distance).",
        metric="ratio",
        bound=between(0.8, 1.3),
        where=recipe_at_the_middle,
        sweep=Sweep(tuple({"pretrain_steps": steps} for steps in STEPS), slope_on_distance, least_seeds=5),
    ),
)
