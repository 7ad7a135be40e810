"""`python -m dyntoolkit` is the same as `dyntoolkit`."""

import sys

from dyntoolkit.app.cli import main

sys.exit(main())
