"""The base class of all benchmarks: a grid of jobs in a folder that can be resumed, then one JSON document, its tables and its figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import click
from aamc_experiments.commands import new_folder, split_options
from aamc_experiments.run_folder import RunFolder
from aamc_report.tables import Table, TableRecord

from aamc_bench.experiment_runs import RoutersLeftOut, left_out_of
from aamc_bench.grid import GridJob, JobsFailed, run_grid
from aamc_sdk.cli import print_table, progress, write_json_line
from aamc_sdk.config import load_yaml
from aamc_sdk.errors import AamcError, CheckpointError, ConfigError, Interrupted, OutputError
from aamc_sdk.storage import json_hash, locked, plain, write_json, write_text, write_yaml

if TYPE_CHECKING:
    from matplotlib.figure import Figure


OPTIONS_FILE = "experiment.yaml"
"""The file with the command and the options of a folder's experiment."""


@contextmanager
def open_experiment(
    command: str, out: Path | None, resume: Path | None, given: Mapping[str, Any], options_of: Callable[..., Mapping[str, Any]]
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Open an experiment's folder, new or resumed and locked for other processes; yield it with everything that the result follows from.

    Args:
        command: The command's path, such as ``"bench compare"``.
        out: The folder to write, which is resumed if it was begun with the same options; a new one under ``runs/`` when None.
        resume: The folder to resume with its own options.
        given: The options of the command line; None or empty if not given.
        options_of: Returns everything that the result follows from, defaults included, for these options.

    Raises:
        click.UsageError: ``resume`` is given with other options.
        CheckpointError: There is no experiment to resume.
        OutputError: The folder holds something else, or another process is writing it.
        Interrupted: The user stopped the experiment; the message says how to resume it.
    """
    split_options({**given, "out": out, "resume": resume}, "an experiment")
    if resume is not None:
        folder, options = resume, _read(resume, command)
    else:
        folder, options = out or new_folder(command.replace(" ", "-")), plain(options_of(**given))
    with locked(folder):
        _write(folder, command, options)
        try:
            yield folder, options
        except KeyboardInterrupt:
            raise Interrupted(f"interrupted; resume it with: aamc {command} --resume {folder}") from None


def _read(folder: Path, command: str) -> Mapping[str, Any]:
    if not (folder / OPTIONS_FILE).is_file():
        raise CheckpointError(f"{folder} is not an experiment's folder: it has no {OPTIONS_FILE}; begin one with: aamc {command}")
    try:
        content = load_yaml(folder / OPTIONS_FILE)
    except ConfigError as error:
        raise CheckpointError(f"{folder} cannot be resumed: {error}; restore the file, or begin anew with: aamc {command}") from error
    if content.get("schema", 1) != 1 or not isinstance(content.get("command"), str) or not isinstance(content.get("options"), dict):
        raise CheckpointError(f"{folder / OPTIONS_FILE} is damaged, or of another version; begin anew with: aamc {command}")
    if content["command"] != command:
        raise CheckpointError(f"{folder} was begun by aamc {content['command']}; resume it with: aamc {content['command']} --resume {folder}")
    options: Mapping[str, Any] = content["options"]
    hashed = json_hash(options)
    if content.get("sha256", hashed) != hashed:  # version 0.1 wrote none
        raise CheckpointError(f"{folder / OPTIONS_FILE} was changed after it was written; restore its options, or begin anew with: aamc {command}")
    return options


def _write(folder: Path, command: str, options: Mapping[str, Any]) -> None:
    if (folder / OPTIONS_FILE).exists():
        if _read(folder, command) != options:
            raise OutputError(f"{folder} was begun with other options; resume it with --resume, or choose another folder with --out")
        return
    RunFolder(folder).refuse_to_overwrite(resumes=False)
    write_yaml(folder / OPTIONS_FILE, {"schema": 1, "command": command, "options": options, "sha256": json_hash(options)})


WIDTH = 240
"""Columns of text if standard output is not a terminal: enough for every table."""


@attrs.frozen
class Stage:
    """Jobs that may run in parallel, unless each runs alone so that their times can be compared."""

    jobs: Sequence[GridJob]
    one_at_a_time: bool = False


class Benchmark(ABC):
    """A benchmark; subclasses define its options, its jobs, and the document, tables and figures of their results.

    ``command`` is the command's path, such as ``"bench compare"``, and ``document_name`` the name of the JSON document's file.
    """

    command: ClassVar[str]
    document_name: ClassVar[str] = "results"

    @abstractmethod
    def options(self, **given: Any) -> dict[str, Any]:
        """Return everything that the result follows from, in JSON types; options of the command line that are None or empty get their defaults.

        Raises:
            ConfigError: An option has a wrong value.
        """

    def checked_options(self, **given: Any) -> dict[str, Any]:
        """Return :meth:`options` after a check that all jobs can begin, so that errors come once, before the first job."""
        return self.options(**given)

    @abstractmethod
    def stages(self, options: Mapping[str, Any], results: Mapping[str, Any]) -> Iterator[Stage]:
        """Yield the stages, each begun after the one before; ``results`` are those of all earlier stages, by the jobs' keys."""

    @abstractmethod
    def content(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return the content of the JSON document, made of the results of the jobs that are done, by key, and of their files in the folder."""

    @abstractmethod
    def tables(self, document: Mapping[str, Any]) -> dict[str, Table]:
        """Return the tables of a document, by the names of their files."""

    def console_tables(self, tables: Mapping[str, Table]) -> Mapping[str, Table]:
        """Return the tables for the console, which has less room than files."""
        return tables

    def figures(self, document: Mapping[str, Any]) -> Mapping[str, Callable[[], Figure]]:
        """Return functions that draw the figures of a document, by the names of their files."""
        return {}

    def remarks(self, document: Mapping[str, Any]) -> Sequence[str]:
        """Return sentences for standard error, for a benchmark that has not failed."""
        return ()

    def run(self, out: Path | None, resume: Path | None, as_json: bool, workers: int | None = None, **given: Any) -> None:
        """Run the benchmark in a new folder or resume it, see :func:`open_experiment`; write its results, and show its tables or its JSON document.

        Raises:
            JobsFailed: Some jobs failed; the results, also in the error's ``document``, are made of the others.
            RoutersLeftOut: The training of some routers failed; likewise.
        """
        with open_experiment(self.command, out, resume, given, self.checked_options) as (folder, options):
            results, error = self.measure(folder, options, workers)
            document = self.document(options, results, folder)
            tables = self.tables(document)
            self._write(folder, document, tables)
        if not as_json:
            show_tables(self.console_tables(tables))
        elif error is None:
            write_json_line(document)
        click.echo(f"Everything is in {folder}", err=True)
        if error is not None:
            error.document = document
            raise error
        for remark in self.remarks(document):
            click.echo(remark, err=True)

    def measure(self, folder: Path, options: Mapping[str, Any], workers: int | None) -> tuple[dict[str, Any], AamcError | None]:
        """Do all stages; return the results by key, and the error to end with if some jobs, or routers of a job, failed.

        Raises:
            JobsFailed: All jobs of a stage failed.
        """
        results: dict[str, Any] = {}
        errors: list[AamcError] = []
        for stage in self.stages(options, results):
            try:
                with progress() as shown:
                    found = run_grid(stage.jobs, folder, 1 if stage.one_at_a_time else workers, shown)
            except JobsFailed as error:
                if not error.results:
                    raise
                found = dict(error.results)
                errors.append(error)
            else:
                if left_out := left_out_of(found, folder):
                    errors.append(RoutersLeftOut(left_out))
            results |= found
        return results, min(errors, key=lambda error: not isinstance(error, JobsFailed), default=None)

    def document(self, options: Mapping[str, Any], results: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return the JSON document; see :meth:`content`."""
        return {"schema": 1, "command": self.command, "options": options, **self.content(options, results, folder)}

    def _write(self, folder: Path, document: Mapping[str, Any], tables: Mapping[str, Table]) -> None:
        """Write the document, each table as ``.md``, ``.tex`` and ``.csv``, and each figure as ``.png`` and ``.svg``."""
        for name, table in tables.items():
            write_text(folder / f"{name}.md", table.markdown())
            write_text(folder / f"{name}.tex", table.latex())
            write_text(folder / f"{name}.csv", table.csv())
        write_json(folder / f"{self.document_name}.json", document)
        if figures := self.figures(document):
            from aamc_bench.figures import save_figure

            for name, draw in figures.items():
                save_figure(folder, name, draw)


def show_tables(tables: Mapping[str, Table]) -> None:
    """Write tables to standard output."""
    for table in tables.values():
        print_table(table.rich(), WIDTH)


def distinct(records: Sequence[TableRecord], key: str) -> list[Any]:
    """Return the values of a key in records, each once, in their order."""
    return list(dict.fromkeys(record[key] for record in records))
