"""Grokking: networks that first memorize their training data and generalize much later."""
