"""What can be counted: quality, and later resources and prices."""
