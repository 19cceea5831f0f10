"""Puts a table that a session has measured where a document shows it.

    python docs/tables.py DOCUMENT NAME TABLE

The table replaces what stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(document: Path, name: str, table: Path) -> None:
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->\n"
    before, _, rest = document.read_text().partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise SystemExit(f"{document}: the marks {begin.strip()} and {end.strip()} are not there")
    document.write_text(f"{before}{begin}\n{table.read_text()}\n{end}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
