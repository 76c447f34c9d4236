"""``tandem export``: Parquet and CSV from a run. The only module that imports pyarrow; runs in its own process.

``frames.*`` of two sides are equal byte by byte: the same rows in the same batches, and nothing about this machine.
Files appear under their names when they are complete.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from p2pclient.common.errors import RecordingError
from p2pclient.recorder.cells import agent_labels
from p2pclient.recorder.desync import describe_desync, report_path
from p2pclient.recorder.manifest import MANIFEST_NAME, discard
from p2pclient.recorder.reading import RunReader, said_of_withdrawn
from p2pclient.recorder.records import EventRecorded, FrameRecorded, FramesWithdrawn, FrameTimed, LogRecord
from p2pclient.recorder.tables import (
    EVENT_COLUMNS,
    Column,
    Row,
    csv_line,
    event_row,
    frame_layouts,
    timing_columns,
    timing_row,
    withdrawal_row,
)
from p2pclient.recorder.writing import describe_failure

FORMATS = ("parquet", "csv")
_BATCH_ROWS = 16_384
"""Rows of one row group: also what is held in memory per table."""
_PROGRESS_EVERY = 5_000

Progress = Callable[[float], None]
"""Called with the share done, 0..1."""


class _Sink(Protocol):
    """One file being written, not under its name yet."""

    def __init__(self, part: Path, columns: Sequence[Column]) -> None: ...
    def write(self, rows: list[Row]) -> None: ...
    def close(self) -> None: ...


class _CsvSink:
    def __init__(self, part: Path, columns: Sequence[Column]) -> None:
        self._file: TextIO = part.open("w", encoding="utf-8", newline="")
        self._file.write(csv_line(column.name for column in columns))

    def write(self, rows: list[Row]) -> None:
        self._file.writelines(map(csv_line, rows))

    def close(self) -> None:
        self._file.close()


class _ParquetSink:
    def __init__(self, part: Path, columns: Sequence[Column]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}
        types |= {"ints": pa.list_(pa.int64()), "floats": pa.list_(pa.float64())}
        self._pa: Any = pa
        self._schema: Any = pa.schema([(column.name, types.get(column.kind, pa.string())) for column in columns])
        self._writer: Any = pq.ParquetWriter(part, self._schema, compression="zstd")

    def write(self, rows: list[Row]) -> None:
        arrays = [
            self._pa.array(values, type=field.type, from_pandas=False)
            for field, values in zip(self._schema, zip(*rows, strict=True), strict=True)
        ]
        self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema), row_group_size=_BATCH_ROWS)

    def close(self) -> None:
        self._writer.close()


_SINKS: dict[str, type[_Sink]] = {"csv": _CsvSink, "parquet": _ParquetSink}


class _Table:
    """One table in every format asked for, written in batches."""

    def __init__(self, folder: Path, name: str, columns: Sequence[Column], formats: Sequence[str]) -> None:
        self.rows = 0
        self._batch: list[Row] = []
        self._paths = [folder / f"{name}.{suffix}" for suffix in formats]
        self._parts = [path.with_name(f"{path.name}.{os.getpid()}.part") for path in self._paths]
        self._sinks: list[_Sink] = []
        for part, suffix in zip(self._parts, formats, strict=True):
            self._sinks.append(_SINKS[suffix](part, columns))

    def add(self, row: Row) -> None:
        self._batch.append(row)
        self.rows += 1
        if len(self._batch) >= _BATCH_ROWS:
            self._write()

    def finish(self) -> list[Path]:
        if self._batch:
            self._write()
        for sink in self._sinks:
            sink.close()
        return self._parts

    def publish(self) -> list[Path]:
        for part, path in zip(self._parts, self._paths, strict=True):
            part.replace(path)
        return self._paths

    def discard(self) -> None:
        for sink in self._sinks:
            try:
                sink.close()
            except OSError:
                # What could not be written before cannot be flushed now; the file is removed anyway.
                pass
        for part in self._parts:
            discard(part)

    def _write(self) -> None:
        for sink in self._sinks:
            sink.write(self._batch)
        self._batch = []


def export_run(
    run: RunReader, out: Path, formats: Sequence[str] = FORMATS, *, progress: Progress | None = None
) -> dict[str, int]:
    """Write the tables of ``run`` into ``out`` and return the rows of each, by name.

    Memory is bounded by a batch of rows, whatever the length of the run. A table that does not come about leaves
    none of its files; files of an earlier export are replaced.

    Raises:
        RecordingError: ``out`` cannot be written or the run cannot be read.
    """
    tables: dict[str, _Table] = {}
    try:
        out.mkdir(parents=True, exist_ok=True)
        _fill(tables, run, out, formats, progress or (lambda share: None))
        for table in tables.values():
            table.finish()
        for table in tables.values():
            table.publish()
        if out.resolve() != run.folder.resolve():
            for path in (run.folder / MANIFEST_NAME, *_desync_reports(run)):
                shutil.copyfile(path, out / path.name)
    except OSError as error:
        raise RecordingError(describe_failure(out, error)) from error
    finally:
        for table in tables.values():
            table.discard()
    return {name: table.rows for name, table in tables.items()}


def _fill(tables: dict[str, _Table], run: RunReader, out: Path, formats: Sequence[str], progress: Progress) -> None:
    layout, unverified_layout = frame_layouts(run)
    labels = agent_labels(run.agents)
    for name, columns in (
        ("frames", layout.columns),
        ("unverified", unverified_layout.columns),
        ("timing", timing_columns(labels)),
        ("events", EVENT_COLUMNS),
    ):
        tables[name] = _Table(out, name, columns, formats)

    def add(record: LogRecord) -> None:
        if isinstance(record, FrameRecorded):
            if run.is_verified(record):
                tables["frames"].add(layout.row(record))
            else:
                tables["unverified"].add(unverified_layout.row(record))
        elif isinstance(record, FrameTimed):
            tables["timing"].add(timing_row(len(labels), record))
        elif isinstance(record, EventRecorded):
            tables["events"].add(event_row(record))
        elif isinstance(record, FramesWithdrawn):
            tables["events"].add(withdrawal_row(record))

    for count, (offset, record) in enumerate(run.records_at()):
        if run.stands(offset, record):
            add(record)
        if count % _PROGRESS_EVERY == 0:
            progress(offset / max(1, run.log_bytes))
    progress(1.0)


def _desync_reports(run: RunReader) -> list[Path]:
    """Return the desync reports that the log points to, as far as they are there."""
    paths = [report_path(run.folder, event) for event in run.desyncs]
    return [path for path in dict.fromkeys(paths) if path is not None and path.is_file()]


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tandem export", description="Make Parquet and CSV files from a run.")
    parser.add_argument("run", type=Path, help="the run's folder")
    parser.add_argument("--out", type=Path, help="where the files go; the run's folder unless given")
    parser.add_argument("--format", default=",".join(FORMATS), help="parquet, csv, or both with a comma (default)")
    parser.add_argument("--salvage", action="store_true", help="export what stands before damage in the log")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    options = parser.parse_args(argv)
    options.formats = tuple(dict.fromkeys(options.format.split(",")))
    unknown = set(options.formats) - set(FORMATS)
    if unknown:
        parser.error(f"--format is {options.format!r}; allowed: parquet, csv, or both with a comma")
    return options


def _print_progress(share: float) -> None:
    print(f"\rexport: {share:4.0%}", end="" if share < 1 else "\n", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``tandem export``. Exit codes: 0 done, 2 wrong arguments, 3 unreadable run or unwritable folder."""
    options = _parse(sys.argv[1:] if argv is None else argv)
    try:
        run = RunReader(options.run, salvage=options.salvage)
        out = options.out or options.run
        rows = export_run(run, out, options.formats, progress=None if options.quiet else _print_progress)
    except RecordingError as error:
        print(f"tandem export: {error}", file=sys.stderr)
        return 3
    if run.damage is not None:
        print(f"tandem export: {run.damage}; exported what stands before", file=sys.stderr)
    if run.torn_bytes:
        print(
            f"tandem export: the last record was cut off in writing; {run.torn_bytes} bytes left out", file=sys.stderr
        )
    print(f"{out}: " + ", ".join(f"{name} {count} rows" for name, count in rows.items()))
    if run.withdrawn:
        print(f"{said_of_withdrawn(run)}; they are in no table of frames")
    for event in run.desyncs:
        print(describe_desync(event, run.folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
