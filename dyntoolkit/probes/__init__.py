"""Measurements, one file each, tested against their naive definition. They know no phenomenon."""

from dyntoolkit.probes._heap import keep_freed_memory
from dyntoolkit.probes.accuracy import accuracy
from dyntoolkit.probes.alignment import alignment, matrix_alignment
from dyntoolkit.probes.amplification import amplification
from dyntoolkit.probes.attention_entropy import attention_entropy
from dyntoolkit.probes.auc import auc
from dyntoolkit.probes.barrier import along_segment, barrier
from dyntoolkit.probes.cka import cka
from dyntoolkit.probes.commutativity import additivity, commutativity, relative_square
from dyntoolkit.probes.cosine_matrix import cosine_matrix, unit_vectors
from dyntoolkit.probes.crossing_times import delay, first_above, first_below, first_step, first_value, value_at
from dyntoolkit.probes.dead_units import dead_units
from dyntoolkit.probes.direction_clusters import direction_clusters
from dyntoolkit.probes.disagreement import disagreement
from dyntoolkit.probes.effective_neurons import effective_neurons
from dyntoolkit.probes.effective_rank import effective_rank
from dyntoolkit.probes.feature_merging import (
    Units,
    cost,
    largest,
    merge_cheapest,
    merge_random,
    merged_pair,
    output,
    units,
)
from dyntoolkit.probes.fisher_trace import average_sharpness, fisher_diagonal, sampled_labels
from dyntoolkit.probes.fourier_concentration import fourier_concentration, mode_shares, random_concentration
from dyntoolkit.probes.gaussian_filter import (
    frequency_errors,
    gaussian_filter,
    high_frequency_share,
    squared_bandwidth,
    squared_distances,
)
from dyntoolkit.probes.gradient_curvature import gradient_curvature, hessian_product, loss_gradient_product
from dyntoolkit.probes.gradient_noise_scale import gradient_noise_scale
from dyntoolkit.probes.grid_minimum import grid_minimum
from dyntoolkit.probes.inertia import inertia
from dyntoolkit.probes.kernel_distance import kernel_angle, kernel_distance
from dyntoolkit.probes.kernel_flow import kernel_flow
from dyntoolkit.probes.kernel_regression import kernel_regression
from dyntoolkit.probes.lanczos import lanczos
from dyntoolkit.probes.largest_eigenvalue import largest_eigenvalue
from dyntoolkit.probes.linearity import (
    Linearity,
    cosine_distance,
    feature_linearity,
    frobenius,
    log_slope,
    parabola_fit,
)
from dyntoolkit.probes.ntk import input_metric, kernel_change, linear_ntk
from dyntoolkit.probes.nudft import nudft
from dyntoolkit.probes.permutation_matching import activation_matching, permuted, similarity, weight_matching
from dyntoolkit.probes.power_iteration import power_iteration
from dyntoolkit.probes.preconditioned_sharpness import momentum_factor, preconditioned_sharpness
from dyntoolkit.probes.relative_distance import relative_distance
from dyntoolkit.probes.sample_gradients import sample_gradients
from dyntoolkit.probes.sharpness import sharpness
from dyntoolkit.probes.tangent_kernel import tangent_kernel
from dyntoolkit.probes.tangent_rank import tangent_rank, tangent_singular_values
from dyntoolkit.probes.walsh import cube, degree_weights, degrees, walsh

keep_freed_memory()

__all__ = [
    "Linearity",
    "Units",
    "accuracy",
    "activation_matching",
    "additivity",
    "alignment",
    "along_segment",
    "amplification",
    "attention_entropy",
    "auc",
    "average_sharpness",
    "barrier",
    "cka",
    "commutativity",
    "cosine_distance",
    "cosine_matrix",
    "cost",
    "cube",
    "dead_units",
    "degree_weights",
    "degrees",
    "delay",
    "direction_clusters",
    "disagreement",
    "effective_neurons",
    "effective_rank",
    "feature_linearity",
    "first_above",
    "first_below",
    "first_step",
    "first_value",
    "fisher_diagonal",
    "fourier_concentration",
    "frequency_errors",
    "frobenius",
    "gaussian_filter",
    "gradient_curvature",
    "gradient_noise_scale",
    "grid_minimum",
    "hessian_product",
    "high_frequency_share",
    "inertia",
    "input_metric",
    "kernel_angle",
    "kernel_change",
    "kernel_distance",
    "kernel_flow",
    "kernel_regression",
    "lanczos",
    "largest",
    "largest_eigenvalue",
    "linear_ntk",
    "log_slope",
    "loss_gradient_product",
    "matrix_alignment",
    "merge_cheapest",
    "merge_random",
    "merged_pair",
    "mode_shares",
    "momentum_factor",
    "nudft",
    "output",
    "parabola_fit",
    "permuted",
    "power_iteration",
    "preconditioned_sharpness",
    "random_concentration",
    "relative_distance",
    "relative_square",
    "sample_gradients",
    "sampled_labels",
    "sharpness",
    "similarity",
    "squared_bandwidth",
    "squared_distances",
    "tangent_kernel",
    "tangent_rank",
    "tangent_singular_values",
    "unit_vectors",
    "units",
    "value_at",
    "walsh",
    "weight_matching",
]
