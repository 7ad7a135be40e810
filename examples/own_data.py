"""A third of the labels in your table are wrong: does a network learn the right ones first?

Data of your own, here a pandas frame; a CSV file is `dt.own(model, "wine.csv", target="target")`:

    dyntoolkit run examples/own_data.py --set label_noise=0.2 --seeds 4
"""

from sklearn.datasets import load_wine
from torch import nn

import dyntoolkit as dt

WINE = load_wine(as_frame=True).frame  # 178 wines: 13 measurements, and the vineyard as "target"


def network(width=128):
    """Vineyards by 13 measurements."""
    return nn.Sequential(nn.Linear(13, width), nn.ReLU(), nn.Linear(width, 3))


EXPERIMENT = dt.own(network, WINE, target="target", probes=["labels_fitted"], sliders={"width": (8, 512)}, name="wine")

if __name__ == "__main__":
    dt.explore(EXPERIMENT, label_noise=0.33)
