"""What comes before a server."""

import pytest
from waiting import free_port

from dyntoolkit.app.kernels import KERNELS
from dyntoolkit.app.preparation import prepare
from dyntoolkit.errors import InputError


def test_wrong_addresses_start_nothing() -> None:
    with pytest.raises(InputError, match="port takes a whole number from 1 to 65535, got 70000"):
        prepare("127.0.0.1", 70000)
    with pytest.raises(InputError, match=r"'192\.0\.2\.1' is not an address of this machine"):
        prepare("192.0.2.1", free_port())
    assert KERNELS.nursery is None
