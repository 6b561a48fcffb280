"""The ``raymle`` command, a module per group of verbs: parse, call one function, return one answer."""

from raymle.cli.app import main as main
