"""Tests of Ray share one small prepared table."""

from small_table import splits as splits
