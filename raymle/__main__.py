"""``python -m raymle`` is the ``raymle`` command."""

from raymle.cli import main

main()
