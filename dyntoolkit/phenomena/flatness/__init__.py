"""Sharpness-aware minimization late in training: the escape from a sharp minimum, and where it ends."""
