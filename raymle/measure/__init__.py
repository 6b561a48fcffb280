"""What can be counted: quality, milliseconds and megabytes, dollars."""
