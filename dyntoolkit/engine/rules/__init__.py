"""What each operator of torch is in JAX: the table by which a recorded training step runs in XLA.

A rule takes the operator's arguments as they were recorded after autograd: tensors are JAX arrays, all else is as torch
got it (numbers, None, lists of numbers or of arrays, torch dtypes). It returns an array, or a list of arrays where the
operator has several results, with torch's shapes and dtypes, never weakly typed. Rules expect 64 bits to be enabled and
torch's default dtype to be float32.

Rules are literal; making them fast is left to XLA. What XLA cannot do has no rule: shapes that depend on numbers
(boolean indices, nonzero), numbers that become Python's (`item`), torch's own random numbers, complex numbers. An index
out of range, which is an error in torch, reads NaN (the least number of integers), so that the run diverges.
"""

from dyntoolkit.engine.rules import losses, matrices, networks, pointwise, reductions, shapes
from dyntoolkit.engine.rules.table import DTYPES, RULES, done

__all__ = ["DTYPES", "RULES", "done", "losses", "matrices", "networks", "pointwise", "reductions", "shapes"]
