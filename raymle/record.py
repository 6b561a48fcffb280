"""What every record is: a frozen set of facts, JSON-able, never live resources."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen set of facts; ``model_dump_json`` and ``model_validate_json`` are its file."""

    model_config = ConfigDict(
        extra="ignore",  # a newer version may have written more
        frozen=True,
        ser_json_inf_nan="constants",  # null would not be read back
    )

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in self)
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"
