"""The command line ``aamc``, and shared parts of plugins' commands."""

from aamc_sdk.cli.invocation import listening_socket, plugins_of
from aamc_sdk.cli.main import aamc, main
from aamc_sdk.cli.options import (
    JSON,
    OUT,
    PREFERENCE,
    RESUME,
    RUN,
    SINCE,
    STORE,
    UNTIL,
    Duration,
    Folder,
    InputFile,
    Number,
    add_options,
    check_range,
    request_parameters,
    split_names,
)
from aamc_sdk.cli.output import INTERVALS, LineProgress, console, figure_cell, new_table, print_table, progress, write_json_line
from aamc_sdk.cli.printable_text import is_printable, one_line, printable

__all__ = [
    "INTERVALS",
    "JSON",
    "OUT",
    "PREFERENCE",
    "RESUME",
    "RUN",
    "SINCE",
    "STORE",
    "UNTIL",
    "Duration",
    "Folder",
    "InputFile",
    "LineProgress",
    "Number",
    "aamc",
    "add_options",
    "check_range",
    "console",
    "figure_cell",
    "is_printable",
    "listening_socket",
    "main",
    "new_table",
    "one_line",
    "plugins_of",
    "print_table",
    "printable",
    "progress",
    "request_parameters",
    "split_names",
    "write_json_line",
]
