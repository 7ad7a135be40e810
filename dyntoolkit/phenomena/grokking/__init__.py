"""Grokking: networks that first memorise their training data and generalise much later."""
