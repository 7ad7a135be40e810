import platform

import pytest
import torch

from dyntoolkit.probes import sharpness

resource = pytest.importorskip("resource")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a habit of glibc's")
def test_blocks_of_some_megabytes_that_come_and_go_are_not_asked_for_anew():
    assert sharpness  # the probes are there

    def come_and_go():
        return [torch.ones(2**18, dtype=torch.float64) for _ in range(4)]  # 2 MB each, 512 pages

    for _ in range(3):
        come_and_go()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        come_and_go()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 20 * 512
