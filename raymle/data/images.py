"""Images as files hold them, and as the pixels of one size that a network sees.

The header is looked at before anything is decoded, so that a small file that stands for gigabytes costs nothing. An
image is turned as its EXIF says, laid on white where it is transparent, and 16 bits become 8.
"""

import io
from collections.abc import Iterable, Iterator
from importlib import import_module
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raymle.config.data import ImageConfig

if TYPE_CHECKING:
    from PIL import Image

Shape = tuple[int, int, int]
"""Channels, height and width."""
MOST_SIDE = 16_384
MOST_PIXELS = 50_000_000
USUAL_SIDE = 64
"""The longest side that an image is brought to unless the spec says another."""
LOOK = (3, 16, 16)
MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n", "Png"),
    (0, b"\xff\xd8\xff", "Jpeg"),
    (0, b"GIF8", "Gif"),
    (0, b"BM", "Bmp"),
    (8, b"WEBP", "WebP"),
)
"""Where a file says what it is, what it says there, and Pillow's name for it."""
UNREAD = b"\0unread image: "
"""Begins what stands in the place of a file that cannot be read; the reason follows."""
WHITE = (255, 255, 255, 255)


class Unreadable(pa.ArrowInvalid):  # type: ignore[misc]
    """Why a file is no image that raymle reads, as the end of a sentence that begins with its name."""


def canonical(values: pa.Array, shape: Shape | None) -> pa.Array:
    """Return a column's images as pixels, bytes of one length: channel by channel, row by row.

    Raises:
        Unreadable: one of them is no image.
    """
    assert shape is not None
    size = prod(shape)
    if values.type == pa.binary(size):
        return values
    if not is_bytes(values.type):
        raise Unreadable(f"is {values.type}, not an image's bytes, nor a path that ends in .png, .jpg and the like")
    found = np.zeros((len(values), size), np.uint8)
    known = np.ones(len(values), bool)
    for row, value in enumerate(values):
        data = value.as_py()
        known[row] = data is not None
        if data is not None:
            found[row] = pixels(data, shape).reshape(-1)
    return of_pixels(found, known)


def of_pixels(rows: NDArray[np.uint8], known: NDArray[np.bool_] | None = None) -> pa.Array:
    """Return pixels ``[n, size]`` as a column; what is not known is null."""
    mask = None if known is None or known.all() else pa.array(known).buffers()[1]
    buffers = [mask, pa.py_buffer(np.ascontiguousarray(rows))]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(rows.shape[1]), len(rows), buffers)


def to_pixels(values: pa.Array) -> NDArray[np.uint8]:
    """Return a canonical column as ``[n, size]``; a null is black."""
    size = values.type.byte_width
    whole = np.frombuffer(values.buffers()[1] or b"", np.uint8)
    rows = whole[values.offset * size : (values.offset + len(values)) * size].reshape(-1, size)
    if not values.null_count:
        return rows
    return np.asarray(np.where(values.is_valid().to_numpy(zero_copy_only=False)[:, None], rows, np.uint8(0)))


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a column of that type may hold files."""
    checks = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)
    return any(check(kind) for check in checks)


def looks_like(data: bytes) -> bool:
    """Whether a file begins as an image does."""
    return _kind(data) is not None or data.startswith(UNREAD)


def survey(values: Iterable[bytes | None], config: ImageConfig) -> Shape:
    """Decide what images are brought to, from some of them and the spec; those that are no images do not count."""
    sizes: list[tuple[int, int]] = []
    grey = True
    for data in values:
        try:
            width, height, _ = header(data or b"")
            look = None if config.channels or not grey else pixels(data or b"", LOOK)
        except Unreadable:
            continue
        sizes.append((height, width))
        grey = grey and (look is None or bool((look == look[:1]).all()))
    height, width = config.size or _median(sizes)
    return config.channels or (1 if grey and sizes else 3), height, width


def _median(sizes: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the median height and width, both made smaller until neither exceeds the usual side."""
    if not sizes:
        return USUAL_SIDE, USUAL_SIDE
    height, width = (float(np.median([size[place] for size in sizes])) for place in (0, 1))
    scale = min(1.0, USUAL_SIDE / max(height, width))
    return max(4, round(height * scale)), max(4, round(width * scale))


def header(data: bytes) -> tuple[int, int, bool]:
    """Return width, height and whether there are several frames, without decoding.

    Raises:
        Unreadable: it is no image, or too large to be decoded.
    """
    image = _opened(data)
    try:
        return *image.size, bool(getattr(image, "is_animated", False))
    except Exception as error:  # noqa: BLE001  a decoder raises whatever the file makes it
        raise Unreadable(_why(error)) from None


def pixels(data: bytes, shape: Shape) -> NDArray[np.uint8]:
    """Decode a file and return its first frame, uint8 ``[channels, height, width]``.

    Raises:
        Unreadable: it is no image, damaged or too large.
    """
    channels, height, width = shape
    image = _opened(data)
    try:
        if image.format == "JPEG" and image.mode in {"L", "RGB"}:
            image.draft(image.mode, (2 * width, 2 * height))  # decodes fewer of the pixels that would be thrown away
        image.load()
        plain = _plain(image, "L" if channels == 1 else "RGB")
    except Exception as error:  # noqa: BLE001  a decoder raises whatever the file makes it
        raise Unreadable(_why(error)) from None
    if plain.size != (width, height):
        plain = plain.resize((width, height), 2)  # bilinear over all that falls into a pixel
    found = np.asarray(plain)
    return found[None] if channels == 1 else found.transpose(2, 0, 1)


def png(found: NDArray[np.uint8]) -> bytes:
    """Return pixels ``[channels, height, width]`` as a file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(found[0] if len(found) == 1 else found.transpose(1, 2, 0)).save(file, "PNG")
    return file.getvalue()


def reason(data: Any) -> str:
    """Say what is wrong with an image, as the end of a sentence; empty when nothing is."""
    try:
        if not isinstance(data, bytes):
            return f"is {str(data)[:80]!r}, and that is no image"
        pixels(data, LOOK)
    except Unreadable as error:
        return str(error)
    return ""


def _opened(data: bytes) -> "Image.Image":
    """Read the header and hold it against the limits.

    Pillow's own ``open`` is not called: its limit is global, and it does not say how large an image is.
    """
    kind = _kind(data)
    if kind is None:
        raise Unreadable(_stranger(data))
    if kind == "WebP":
        _refuse_large(*_webp_size(data))  # its decoder takes memory for the whole image at once
    try:
        image: Image.Image = getattr(import_module(f"PIL.{kind}ImagePlugin"), f"{kind}ImageFile")(io.BytesIO(data))
    except Unreadable:
        raise
    except Exception as error:  # noqa: BLE001  a decoder raises whatever the file makes it
        raise Unreadable(_why(error)) from None
    _refuse_large(*image.size)
    return image


def _kind(data: bytes) -> str | None:
    return next((name for place, magic, name in MAGIC if data[place : place + len(magic)] == magic), None)


def _stranger(data: bytes) -> str:
    if not data:
        return "is empty"
    if data.startswith(UNREAD):
        return data.removeprefix(UNREAD).decode("utf-8", "replace")
    if b"<svg" in data[:1000].lower():
        return "is an SVG, a drawing without pixels; save it as a PNG"
    return "is no png, jpeg, webp, bmp or gif"


def _refuse_large(width: int, height: int) -> None:
    if max(width, height) > MOST_SIDE or width * height > MOST_PIXELS:
        limits = f"{MOST_SIDE:,} a side and {MOST_PIXELS:,} in all"
        raise Unreadable(f"is {width:,} x {height:,} pixels large, and the most are {limits}")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return the size that the first chunk says (RFC 9649, sections 2.5 to 2.7)."""
    chunk = data[12:16]
    numbers = data[20:30].ljust(10, b"\0")
    if chunk == b"VP8X":
        return 1 + int.from_bytes(numbers[4:7], "little"), 1 + int.from_bytes(numbers[7:10], "little")
    if chunk == b"VP8L":
        bits = int.from_bytes(numbers[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(numbers[6:8], "little") & 0x3FFF, int.from_bytes(numbers[8:10], "little") & 0x3FFF


def _plain(image: "Image.Image", mode: str) -> "Image.Image":
    """Return what a viewer shows, 8 bits a channel."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        image = Image.fromarray((np.clip(np.asarray(image, np.int64), 0, 65_535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        seen = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", seen.size, WHITE), seen)
    return image if image.mode == mode else image.convert("RGB" if image.mode == "P" else mode).convert(mode)


def _why(error: Exception) -> str:
    if isinstance(error, Unreadable):
        return str(error)
    text = " ".join(str(error).split())[:120] or type(error).__name__
    if "truncated" in text.lower() or "not enough" in text.lower() or isinstance(error, EOFError):
        return f"is cut off: {text}"
    return f"is damaged: {text}"


def notes(values: pa.Array) -> Iterator[tuple[tuple[int, int], bool]]:
    """Yield size (height, width) and whether it is animated of each image that can be read."""
    for value in values:
        data = value.as_py()
        if data is not None:
            try:
                width, height, animated = header(data)
            except Unreadable:
                continue
            yield (height, width), animated
