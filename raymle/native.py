from pathlib import Path


def ready(bundle: Path, root: Path | None) -> Path:
    return bundle.resolve()
