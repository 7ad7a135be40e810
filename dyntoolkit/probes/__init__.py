"""Measurements on networks and their features, one file each; they know no phenomenon."""
