"""Neuron condensation: input weights gather in few directions (Xu et al. 2025, arXiv 2504.09484)."""
