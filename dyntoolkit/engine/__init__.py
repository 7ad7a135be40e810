"""The engine: many independent runs as one tensor with a leading run axis R. It knows no phenomenon."""

from dyntoolkit.engine.activations import ACTIVATIONS
from dyntoolkit.engine.batches import full_batch
from dyntoolkit.engine.gradient import value_and_grad
from dyntoolkit.engine.history import Frame, History
from dyntoolkit.engine.initialization import he, lecun, normal_init
from dyntoolkit.engine.layers import MLP, linear
from dyntoolkit.engine.loop import evenly, geometrically, train
from dyntoolkit.engine.module import Module
from dyntoolkit.engine.per_run import per_run
from dyntoolkit.engine.streams import Stream
from dyntoolkit.engine.transformer import Transformer
from dyntoolkit.engine.update import Adam, AmsGrad, Momentum, Sgd, adam, amsgrad, clip, momentum, sam, sgd

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Adam",
    "AmsGrad",
    "Frame",
    "History",
    "Module",
    "Momentum",
    "Sgd",
    "Stream",
    "Transformer",
    "adam",
    "amsgrad",
    "clip",
    "evenly",
    "full_batch",
    "geometrically",
    "he",
    "lecun",
    "linear",
    "momentum",
    "normal_init",
    "per_run",
    "sam",
    "sgd",
    "train",
    "value_and_grad",
]
