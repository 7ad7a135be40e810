"""dyntoolkit: notebooks in which neural networks retrain before your eyes, with the theory drawn over the data."""

__version__ = "0.1.0"
