"""Read by the server on Binder: Voila's pages get the settings of `dyntoolkit serve`, and its kernels, at once."""

from traitlets.config import get_config

from dyntoolkit.app.kernels import KERNELS
from dyntoolkit.app.serve import settings

get_config().merge(settings())
KERNELS.prepare()
