"""The options of commands that train: what the settings are, on which data, and by which engine."""

import argparse


def setting_options(command: argparse.ArgumentParser) -> None:
    """Add them."""
    command.add_argument(
        "--preset", metavar="P", help="settings to start from (default: the experiment's first preset)"
    )
    command.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", help="settings changed on top"
    )
    command.add_argument("--file", metavar="DATA.csv", help="a file of data of your own, for experiments that take one")
    command.add_argument(
        "--engine", metavar="ENGINE", help="xla, recorded or eager (default: the best that the step allows)"
    )
