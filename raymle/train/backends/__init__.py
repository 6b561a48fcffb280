"""Where the loop's workers run; each backend imports only its own framework."""
