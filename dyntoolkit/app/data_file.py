"""A reader's file of data, named on a command line."""

from pathlib import Path
from typing import TYPE_CHECKING

from dyntoolkit.errors import InputError

if TYPE_CHECKING:  # it imports torch
    from dyntoolkit.experiment import Experiment


def with_file(experiment: "Experiment", path: Path) -> "Experiment":
    """The experiment on that file of data; InputError for one that cannot be read, or is refused."""
    from dyntoolkit.experiment.record import check_file_size

    try:
        if not path.is_dir():  # which has a size, too
            check_file_size(path.name, path.stat().st_size)
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"--file: {path} cannot be read: {error.strerror}.", "file") from None
    return experiment.with_file(path.name, content)
