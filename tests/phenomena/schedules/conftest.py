"""Small runs train as they stand: each shape would have to be compiled."""

import pytest

from dyntoolkit.engine.choice import Asked, asking


@pytest.fixture(autouse=True)
def eager():
    with asking(Asked("eager")):
        yield
