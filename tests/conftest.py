"""One thread for torch, and how many examples Hypothesis tries: HYPOTHESIS_PROFILE is "ci" (default) or "quick".

Both try the same examples each time, so that a failure can be seen again. What tests keep goes into a folder of theirs.
"""

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # as the command line and the dashboards do: more threads slow such small networks down

BUSY = [HealthCheck.too_slow]  # says more about the machine than about the test
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=BUSY)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=10)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Programs that trainings compile go into a folder of this session, not into that of who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def narrow_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The eighty networks of kernels.lr_transfer are so narrow that they train in no time; no slider sets widths."""
    monkeypatch.setattr("dyntoolkit.phenomena.kernels.lr_transfer.WIDTHS", (32, 36, 40, 48))
