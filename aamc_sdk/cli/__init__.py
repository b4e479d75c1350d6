"""The command line ``aamc``, and shared parts of plugins' commands."""

from aamc_sdk.cli.invocation import plugins_of
from aamc_sdk.cli.listener import listening_socket
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
from aamc_sdk.cli.output import INTERVALS, console, new_table, one_line, print_table, printable, write_json_line
from aamc_sdk.cli.progress import LineProgress, progress

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
