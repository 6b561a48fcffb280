"""The page on which a person tries the model: a form that the browser makes from /openapi.json.

The page itself says nothing of the model, so it needs no token; what it asks the server for does.
"""

from functools import cache
from importlib.resources import files

from raymle.page import fill

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",  # a meta tag cannot say this one
    "Referrer-Policy": "no-referrer",
}


@cache
def page() -> str:
    """Return the HTML, whole in itself."""
    folder = files("raymle.serve")
    script, look = (folder.joinpath(name).read_text("utf-8") for name in ("try_it.js", "try_it.css"))
    return fill(folder.joinpath("try_it.html.j2").read_text("utf-8"), script=script, look=look)
