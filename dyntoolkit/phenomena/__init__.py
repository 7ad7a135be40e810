"""Every experiment there is. A new one is a new file and a new line here."""

from dyntoolkit.experiment import Experiment
from dyntoolkit.phenomena.attention import composition, entropy, one_step, sign_descent
from dyntoolkit.phenomena.chaos import amplification, cone, linearized
from dyntoolkit.phenomena.condensation import directions, dropout, final, isometric, phase, recovery, split, staircase
from dyntoolkit.phenomena.cross_task_linearity import decentralized, digits, merging, permutation, spawn
from dyntoolkit.phenomena.flatness import escape, late_sam
from dyntoolkit.phenomena.grokking import digits as grokking_digits
from dyntoolkit.phenomena.grokking import modular, oned, parity, polynomial
from dyntoolkit.phenomena.kernels import geometry, lr_transfer, swing_by, width
from dyntoolkit.phenomena.label_noise import diagonal, features, linear, refresh
from dyntoolkit.phenomena.label_noise import map as noise_map
from dyntoolkit.phenomena.laboratory import network
from dyntoolkit.phenomena.loss_spikes import blocks, edge_of_stability, logit_growth, mlp, quadratic, rescue
from dyntoolkit.phenomena.loss_spikes import digits as spikes_digits
from dyntoolkit.phenomena.schedules import annealing, batch_size, catch_up
from dyntoolkit.phenomena.schedules import digits as schedules_digits

EXPERIMENTS: tuple[Experiment, ...] = (
    linear.EXPERIMENT,
    noise_map.EXPERIMENT,
    diagonal.EXPERIMENT,
    features.EXPERIMENT,
    refresh.EXPERIMENT,
    digits.EXPERIMENT,
    spawn.EXPERIMENT,
    permutation.EXPERIMENT,
    decentralized.EXPERIMENT,
    merging.EXPERIMENT,
    mlp.EXPERIMENT,
    edge_of_stability.EXPERIMENT,
    quadratic.EXPERIMENT,
    rescue.EXPERIMENT,
    spikes_digits.EXPERIMENT,
    logit_growth.EXPERIMENT,
    blocks.EXPERIMENT,
    oned.EXPERIMENT,
    parity.EXPERIMENT,
    grokking_digits.EXPERIMENT,
    polynomial.EXPERIMENT,
    modular.EXPERIMENT,
    directions.EXPERIMENT,
    final.EXPERIMENT,
    phase.EXPERIMENT,
    staircase.EXPERIMENT,
    dropout.EXPERIMENT,
    split.EXPERIMENT,
    isometric.EXPERIMENT,
    recovery.EXPERIMENT,
    amplification.EXPERIMENT,
    cone.EXPERIMENT,
    linearized.EXPERIMENT,
    late_sam.EXPERIMENT,
    escape.EXPERIMENT,
    batch_size.EXPERIMENT,
    catch_up.EXPERIMENT,
    schedules_digits.EXPERIMENT,
    annealing.EXPERIMENT,
    one_step.EXPERIMENT,
    sign_descent.EXPERIMENT,
    composition.EXPERIMENT,
    entropy.EXPERIMENT,
    width.EXPERIMENT,
    geometry.EXPERIMENT,
    lr_transfer.EXPERIMENT,
    swing_by.EXPERIMENT,
    network.EXPERIMENT,
)
