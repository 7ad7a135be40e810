"""Where compiled and compressed things are kept between two processes."""

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Where this user keeps what can be made again; a path at which nothing can be, for a user without a home."""
    try:
        return Path(platformdirs.user_cache_dir("dyntoolkit", appauthor=False))
    except RuntimeError:
        return Path(os.devnull, "dyntoolkit")
