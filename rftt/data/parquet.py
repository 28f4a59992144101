"""Records of a Parquet file or an Arrow table with values as they were meant: float32 at its shortest, bytes as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rftt.errors import UsageError

if TYPE_CHECKING:
    import pyarrow


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a file, as `records_of` gives them.

    Raises:
        UsageError: it is no Parquet file.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{path}: not a Parquet file ({error}); fetch it again") from error
    return records_of(table)


def records_of(table: pyarrow.Table) -> list[dict[str, Any]]:
    """The records of a table.

    Numbers in float32 are the shortest decimal that they stand for: 0.1, not 0.10000000149011612. Bytes are text in UTF-8,
    and stay bytes where they are none. A value that Python has no type for, such as a date after the year 9999, is None.
    """
    columns = [_cells(column) for column in table.columns]
    return [dict(zip(table.column_names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def _cells(column: pyarrow.ChunkedArray) -> list[Any]:
    try:
        cells = column.to_pylist()
    except (UnicodeDecodeError, OverflowError, ValueError):
        cells = [_cell(scalar) for scalar in column]
    if any(word in str(column.type) for word in ("float", "binary")):
        return [_as_meant(cell, column.type) for cell in cells]
    return cells


def _cell(scalar: pyarrow.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes() if hasattr(scalar, "as_buffer") else None
    except (OverflowError, ValueError):
        return None


def _as_meant(value: Any, kind: pyarrow.DataType) -> Any:
    import numpy
    from pyarrow import types

    if value is None:
        return None
    if types.is_float32(kind):
        return float(str(numpy.float32(value)))
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if types.is_struct(kind):
        return {field.name: _as_meant(value[field.name], field.type) for field in kind}
    if isinstance(value, list) and hasattr(kind, "value_type"):
        return [_as_meant(part, kind.value_type) for part in value]
    return value
