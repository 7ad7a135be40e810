"""One thread for torch, and how many examples Hypothesis tries: HYPOTHESIS_PROFILE is "ci" (default) or "quick".

Both try the same examples each time, so that a failure can be seen again.
"""

import os

import torch
from hypothesis import HealthCheck, settings

torch.set_num_threads(1)  # as the command line and the dashboards do: more threads slow such small networks down

BUSY = [HealthCheck.too_slow]  # says more about the machine than about the test
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=BUSY)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=10)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
