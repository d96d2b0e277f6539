"""Tables of numbers in text files: cells, numbers, and `TextTable`, which reads columns fast and says where one is broken."""

import csv
import io
from pathlib import Path

import numpy as np

from .files import check_growth
from .points import MAX_FRAMES

METRES = {"m": 1.0, "meters": 1.0, "metres": 1.0, "dm": 0.1, "cm": 0.01, "mm": 0.001, "in": 0.0254, "inches": 0.0254}


def parse_number(cell: str) -> float | None:
    """The number in a cell, nan if it is empty or NA, None if it is text."""
    if cell in ("", "NA", "None", "null"):
        return np.nan
    try:
        return None if "_" in cell else float(cell)  # float() would take 1_000
    except ValueError:
        return None


def cells(line: str, separator: str) -> list[str]:
    """Cells of a line; blanks separate where no other separator is; decimal commas are read beside tabs and semicolons."""
    if separator not in line:
        return line.split()
    try:
        found = [c.strip() for c in next(csv.reader([line.rstrip("\r\n")], delimiter=separator))]
    except csv.Error:  # a cell of more than 128 KiB
        found = [c.strip() for c in line.split(separator)]
    return found if separator == "," else [c.replace(",", ".") for c in found]


class TextTable:
    """A table's text, of which `numbers` reads columns; `above`: lines of the file that are left out above it."""

    def __init__(self, path: Path, text: str, separator: str, above: int = 0):
        self.path, self.text, self.separator, self.above = path, text, separator, above

    def numbers(self, start: int, width: int, titles: list[str] | None = None, columns: list[int] | None = None) -> np.ndarray:
        """Numbers (T, C) of the `columns` (default all `width`) in the lines from `start` on (counted from 1)."""
        columns = list(range(width)) if columns is None else columns
        lines = self.text if start == 1 else self.text[line_start(self.text, start) :]
        check_growth(self.path, len(self.text), (lines.count("\n") + 1) * width * 8)
        table = self._quickly(lines, width, columns)
        return self._line_by_line(lines, start + self.above, width, titles, columns) if table is None else table

    def _quickly(self, lines: str, width: int, columns: list[int]) -> np.ndarray | None:
        import pandas

        blanks = self.separator not in lines[: lines.find("\n") + 1 or None]
        commas = self.separator != "," and "," in lines
        if "#" in lines or (commas and "." in lines):
            return None
        options = {"sep": r"\s+" if blanks else self.separator, "decimal": "," if commas else "."}
        options |= {"usecols": None if blanks else columns, "keep_default_na": False, "dtype": np.float64, "header": None}
        try:
            frame = pandas.read_csv(
                io.BytesIO(lines.encode()),
                **options,
                na_values=["", "NA", "None", "null", "nan", "NaN"],
                engine="c",
                low_memory=False,
            )
        except (ValueError, OverflowError, MemoryError):  # pandas' ParserError is a ValueError
            return None
        table = frame.to_numpy()
        # pandas fills short rows: without a separator to count, an empty last cell is looked at again
        short = np.isnan(table[:, -1]).any() if blanks else lines.count(self.separator) != len(table) * (width - 1)
        if short or (blanks and table.shape[1] != width):
            return None
        return table[:, columns] if blanks else table

    def _line_by_line(self, lines: str, start: int, width: int, titles: list[str] | None, columns: list[int]) -> np.ndarray:
        table = []
        for number, line in enumerate(lines.splitlines(), start):
            if not line.strip() or line[0] == "#":
                continue
            row = cells(line, self.separator)
            if len(row) != width:
                raise ValueError(f"{self.path}, line {number}: has {len(row)} columns, expected {width} as in the first line")
            values = [parse_number(row[c]) for c in columns]
            if None in values:
                c = columns[values.index(None)]
                title = f" ({titles[c]})" if titles else ""
                raise ValueError(f"{self.path}, line {number}, column {c + 1}{title}: expected a number, got {row[c][:40]!r}")
            table.append(values)
            if len(table) > MAX_FRAMES:
                raise ValueError(f"{self.path}, line {number}: more than {MAX_FRAMES} frames, the most that is read")
        if not table:
            raise ValueError(f"{self.path}: holds no row of numbers")
        return np.array(table)


def line_start(text: str, line: int) -> int:
    """Index of the first character of a line (counted from 1)."""
    place = 0
    for _ in range(line - 1):
        place = text.find("\n", place) + 1 or len(text)
    return place
