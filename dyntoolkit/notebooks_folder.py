"""Where the toolkit's own notebooks lie."""

from pathlib import Path

PACKAGE = Path(__file__).parent


def notebooks() -> Path:
    """The folder of the notebooks: inside an installed package, beside the package in a checkout."""
    installed = PACKAGE / "notebooks"
    return installed if installed.is_dir() else PACKAGE.parent / "notebooks"
