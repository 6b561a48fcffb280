"""What users rely on grows only where somebody sees it: the public names, the verbs and their options."""

import subprocess
import sys

import typer
from typer.main import get_command

import raymle
from raymle.cli.app import app

COMMON = {"--help", "-h"}
OPTIONS = {
    "init": {"--target", "--output", "-o", "--force", "--template", "--json"},
    "train": {"--profile", "--key", "--plan", "--resume", "--take-over", "--json"},
    "tune": {"--profile", "--key", "--plan", "--resume", "--take-over", "--json"},
    "compare": {"--pick", "--limit", "--output", "--profile", "--storage", "--plan", "--json"},
    "data show": {"--output", "--profile", "--json"},
    "data split": {"--profile", "--json"},
    "evaluate": {"--storage", "--json"},
    "score": {"--output", "--storage", "--json"},
    "reproduce": {"--tolerance", "--plan", "--storage", "--json"},
    "promote": {"--canary", "--shadow", "--storage", "--json"},
    "predict": {"--ray", "--no-ray", "--max-quarantined", "--storage", "--plan", "--json"},
    "rollback": {"--storage", "--json"},
    "serve here": {"--host", "--port", "--plan", "--storage", "--json"},
    "serve render": {"--route", "--output", "--prometheus", "--storage", "--json"},
    "serve deploy": {"--address", "--route", "--plan", "--storage", "--json"},
    "serve status": {"--storage", "--json"},
    "serve stop": {"--address", "--storage", "--json"},
    "serve token": {"--days", "--revoke", "--json"},
    "export": {
        "--format",
        "--quantize",
        "--calibrate",
        "--max-loss",
        "--plan",
        "--storage",
        "--json",
    },
    "submit": {"--address", "--folder", "--wait", "--no-wait", "--key", "--plan", "--json"},
    "runs ls": {"--storage", "--json"},
    "runs show": {"--storage", "--json"},
    "runs diff": {"--storage", "--json"},
    "runs rm": {"--force", "--storage", "--json"},
    "ui": {"--host", "--port", "--storage"},
    "doctor": {"--profile", "--json"},
}
LATER = {"auto", "cluster", "monitor", "capture", "audit"}


def test_the_public_names():
    assert sorted(raymle.__all__) == ["Experiment", "RaymleError", "Run", "compare", "export", "predict", "serve"]
    assert all(getattr(raymle, name) is not None for name in raymle.__all__)


def test_importing_the_package_loads_no_framework():
    code = "import raymle, sys; print([name for name in ('ray', 'torch', 'mlflow', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_verbs_and_their_options():
    found = dict(verbs(get_command(app)))
    assert {name: options for name, options in found.items() if name not in LATER} == OPTIONS
    assert {name for name in found if name not in OPTIONS} == LATER


def verbs(command: typer.core.TyperCommand, prefix: str = ""):
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from verbs(each, f"{prefix}{name} ")
        else:
            words = {word for option in each.params if option.param_type_name == "option" for word in
                     [*option.opts, *option.secondary_opts]}  # fmt: skip
            yield f"{prefix}{name}", words - COMMON
