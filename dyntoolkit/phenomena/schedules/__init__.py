"""Schedules: when to grow the batch, when to lower the learning rate."""
