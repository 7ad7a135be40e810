"""Greedy clusters of directions: how many groups the neurons of a layer form."""

import numpy as np

from dyntoolkit.probes.cosine_matrix import unit_vectors

Array = np.ndarray


def direction_clusters(directions: Array, weights: Array, degrees: float, least: float) -> list[int]:
    """The centres of the clusters, each the index of a neuron, the heaviest cluster first.

    directions: (m, D) input weights of any length. weights: (m,), divided by their sum here. In each turn the neuron
    with the largest weight of unassigned neurons within `degrees` becomes a centre, and takes those neurons; this ends
    when less than `least` (a share) is unassigned. Clusters with a smaller share than `least` are not counted.
    """
    unit = unit_vectors(directions)
    near = unit @ unit.T > np.cos(np.radians(degrees))  # (m, m)
    near |= np.eye(len(unit), dtype=bool)
    free, centres = weights / weights.sum(), []
    taken = np.zeros(len(unit), dtype=bool)
    while free.sum() >= least and not taken.all():
        mass = np.where(taken, -1, near @ free)
        centre = int(mass.argmax())
        if mass[centre] >= least:
            centres.append(centre)
        taken |= near[centre]
        free = np.where(taken, 0, free)
    return centres
