"""Texts as words, and words as codes: by numpy over all characters of a block at once, the same on every machine.

A text is normalised (NFKC), put in lower case, and cut into words: runs of letters, marks and digits. Pictures, signs,
! and ? are words by themselves, and so is every character of a script without spaces between words. A word of over 8
characters is cut into pieces of 8: the first is about its stem, the last its ending. Code 0 stands after a text's end.
"""

import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raymle.data.scramble import mix

MOST_CHARACTERS = 16_384
"""Read of a text: no more tokens are taken than that by any model, and a text may be a whole book."""
PIECE = 8
BLOCK = 1 << 18
"""Characters at once: what is computed of them stays in the processor's cache."""
BASE = 0x9E3779B97F4A7C15 | 1
LATER = np.uint64(0xD6E8FEB86659FD93)
"""Sets the pieces after a word's first apart from words that read the same."""
BREAK, LETTER, SIGN = 0, 1, 2
PLANES = 0x20000
UNSPACED = (
    (0x0E00, 0x0F00), (0x1000, 0x10A0), (0x1780, 0x1800), (0x2E80, 0x2FE0), (0x3041, 0x3100), (0x31F0, 0x3200),
    (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00),
)  # fmt: skip
"""Scripts without spaces between words: Thai and Lao, Myanmar, Khmer, kana, Han."""
SELECTORS = slice(0xFE00, 0xFE10)
PICTURES = slice(0x1F000, 0x1FB00)


class Tokens(NamedTuple):
    """The words and pieces of some texts, one after another."""

    hashes: NDArray[np.uint64]
    rows: NDArray[np.int64]
    """Which text each is of, rising."""

    def places(self, count: int) -> NDArray[np.int64]:
        """Return each one's place in its text, of so many texts."""
        counts = np.bincount(self.rows, minlength=count)
        firsts = np.cumsum(counts) - counts
        return np.arange(len(self.rows)) - firsts[self.rows]


def encode(texts: pa.Array, *, length: int, vocabulary: int) -> NDArray[np.int32]:
    """Return int32 ``[n, length]``: codes from 1 to ``vocabulary - 1``, then 0; a null is an empty text."""
    found = np.zeros((len(texts), length), np.int32)
    for start, block in _blocks(texts):
        tokens = _tokens(block)
        places = tokens.places(len(block))
        kept = places < length
        codes = tokens.hashes[kept] % np.uint64(vocabulary - 1) + np.uint64(1)
        found[start + tokens.rows[kept], places[kept]] = codes
    return found


def counts(texts: pa.Array) -> NDArray[np.int64]:
    """Return how many tokens each text has ``[n]``."""
    parts = [np.bincount(_tokens(block).rows, minlength=len(block)) for _, block in _blocks(texts)]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def tokens(texts: pa.Array) -> Tokens:
    """Return all tokens of a few texts."""
    parts = [(start, _tokens(block)) for start, block in _blocks(texts)]
    if not parts:
        return Tokens(np.zeros(0, np.uint64), np.zeros(0, np.int64))
    return Tokens(
        np.concatenate([each.hashes for _, each in parts]), np.concatenate([each.rows + start for start, each in parts])
    )


def _blocks(texts: pa.Array) -> Iterator[tuple[int, pa.Array]]:
    """Cut texts into blocks of not too many characters, each text as far as it is read."""
    sizes = np.minimum(pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False), MOST_CHARACTERS)
    ends = np.cumsum(sizes)
    start = 0
    while start < len(texts):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + BLOCK, side="right")))
        block = pc.fill_null(texts.slice(start, stop - start), "")
        if sizes[start:stop].max() == MOST_CHARACTERS:
            block = pc.utf8_slice_codeunits(block, 0, MOST_CHARACTERS)
        yield start, block
        start = stop


def _tokens(texts: pa.Array) -> Tokens:
    """Hash each token by a polynomial of its characters: differences of one running sum, over all texts at once."""
    characters, offsets = _characters(texts)
    kinds = _kinds()[characters] if characters.dtype == np.uint8 else _kinds()[np.minimum(characters, PLANES)]
    starts, ends = _words(kinds, offsets)
    starts, ends, later = _pieces(starts, ends)
    powers, inverses = _powers(len(characters).bit_length())
    sums = np.zeros(len(characters) + 1, np.uint64)
    np.cumsum(_folded(characters) * powers[: len(characters)], out=sums[1:])
    hashes = mix((sums[ends] - sums[starts]) * inverses[starts] ^ (later * LATER))
    return Tokens(hashes, np.searchsorted(offsets, starts, side="right") - 1)


def _characters(texts: pa.Array) -> tuple[NDArray[np.uint8] | NDArray[np.uint32], NDArray[np.int64]]:
    """Return the characters of all texts, normalised, and where each text starts ``[n + 1]``."""
    data, offsets = _bytes(texts)
    if not len(data) or data.max() < 128:
        return data, offsets
    others = pc.invert(pc.string_is_ascii(texts))
    folded = [unicodedata.normalize("NFKC", text).lower() for text in texts.filter(others).to_pylist()]
    data, offsets = _bytes(pc.replace_with_mask(texts, others, pa.array(folded, pa.string())))
    before = np.zeros(len(data) + 1, np.int64)
    np.cumsum((data & 0xC0) != 0x80, out=before[1:])  # a character starts there
    return np.frombuffer(data.tobytes().decode().encode("utf-32-le"), "<u4"), before[offsets]


def _bytes(texts: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    _, places, values = texts.buffers()
    offsets = np.frombuffer(places, np.int32, len(texts) + 1, texts.offset * 4).astype(np.int64)
    data = np.frombuffer(values, np.uint8) if values else np.zeros(0, np.uint8)
    return data[offsets[0] : offsets[-1]], offsets - offsets[0]


def _folded(characters: NDArray[np.uint8] | NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Return what is hashed of each character: ASCII in lower case, the others are already."""
    values = characters.astype(np.uint64)
    values[(characters >= ord("A")) & (characters <= ord("Z"))] += np.uint64(32)
    return values


def _words(kinds: NDArray[np.uint8], offsets: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where words start and end; none goes on in the next text."""
    letters, signs = kinds == LETTER, kinds == SIGN
    joined = letters[1:] & letters[:-1]  # with the one before
    inner = offsets[(offsets > 0) & (offsets < len(kinds))]
    joined[inner - 1] = False
    starts, ends = letters | signs, letters | signs
    starts[1:] &= ~joined
    ends[:-1] &= ~joined
    return np.flatnonzero(starts), np.flatnonzero(ends) + 1


def _pieces(
    starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint64]]:
    """Cut long words into pieces; the third says which are not a word's first."""
    counts = (ends - starts + PIECE - 1) // PIECE
    firsts = np.cumsum(counts) - counts
    which = np.arange(counts.sum()) - np.repeat(firsts, counts)
    begins = np.repeat(starts, counts) + which * PIECE
    return begins, np.minimum(begins + PIECE, np.repeat(ends, counts)), (which > 0).astype(np.uint64)


@cache
def _powers(bits: int) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Return the base's powers modulo 2**64 and their inverses, for up to ``2 ** bits`` characters."""
    found = []
    for base in (BASE, pow(BASE, -1, 1 << 64)):
        powers = np.full((1 << bits) + 1, base, np.uint64)
        powers[0] = 1
        found.append(np.multiply.accumulate(powers))
    return found[0], found[1]


@cache
def _kinds() -> NDArray[np.uint8]:
    """Return what each character is by Unicode 3.2, which no version of Python changes; what came later are letters."""
    category = unicodedata.ucd_3_2_0.category
    known = [category(chr(point)) for point in range(PLANES)]
    kinds = np.array([LETTER if each[0] in "LMN" or each in {"Pc", "Cn"} else SIGN if each[0] == "S" else BREAK
                      for each in [*known, "So"]], np.uint8)  # fmt: skip
    kinds[[ord("!"), ord("?")]] = SIGN
    kinds[SELECTORS] = BREAK
    kinds[PICTURES] = SIGN
    for first, last in UNSPACED:
        part = kinds[first:last]
        part[part == LETTER] = SIGN
    return kinds
