"""Chaos, then a cone: early training forgets nothing, late training forgives."""
