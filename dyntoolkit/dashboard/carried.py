"""What a reader has set, kept where other settings are asked for."""

from collections.abc import Collection, Mapping
from typing import Any

from dyntoolkit.experiment.config import Config, carry_over


def carried(shown: Mapping[str, Any], before: Config, asked: Config, fields: Collection[str]) -> Config:
    """The settings `asked` for, with the values shown of those `fields` that were moved away from `before`."""
    was = before.asdict()
    moved = {name: value for name, value in shown.items() if name in fields and value != was[name]}
    return carry_over(moved, asked)


def same_fields(one: Config, other: Config) -> set[str]:
    """The fields that have one value in both."""
    return {name for name, _ in one.asdict().items() & other.asdict().items()}
