"""What tests of several kinds look at."""

import pyarrow as pa

from raymle.evaluate import unseal


def sealed(store, splits):
    """Return the sealed rows as they are in the source, with their identity and content."""
    found = unseal._open(store, splits.id, question="")
    rows = pa.concat_tables(found.parts, promote_options="permissive") if found.parts else pa.table({})
    return rows.append_column("__identity", pa.array(found.identity)).append_column(
        "__content", pa.array(found.content)
    )
