"""Read by the server on Binder: Voila's pages get the settings of `dyntoolkit serve`."""

from traitlets.config import get_config

from dyntoolkit.app.serve import settings

get_config().merge(settings())
