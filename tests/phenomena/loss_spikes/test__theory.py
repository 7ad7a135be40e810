"""What v does between two spikes."""

import numpy as np

from dyntoolkit.phenomena.loss_spikes._theory import forgetting


def test_the_dashed_line_forgets_from_each_peak():
    root = np.concatenate([np.linspace(0.1, 1, 50), 0.9 ** np.arange(1, 301)])
    line = forgetting(root, 0.81)
    assert np.isnan(line[:49]).all()
    np.testing.assert_allclose(line[49:-1], root[49:-1])
