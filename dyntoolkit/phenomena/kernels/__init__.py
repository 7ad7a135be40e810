"""Kernels, lazy and rich: when the tangent kernel stands still, what moves it, and what width changes."""
