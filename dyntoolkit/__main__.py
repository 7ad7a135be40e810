"""`python -m dyntoolkit` is the same as `dyntoolkit`."""

import sys

from dyntoolkit.cli import main

sys.exit(main())
