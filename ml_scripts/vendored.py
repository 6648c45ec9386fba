"""Packages that AWS's image lacks travel in ``vendor/`` beside the scripts.

The folder goes to the end of the search path: a package the image does have wins, compiled for it as it is.
"""

import importlib.util
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def add_to_path(folder: Path = HERE / "vendor") -> None:
    """Make the packages in ``vendor/`` importable, after everything installed."""
    if folder.is_dir() and str(folder) not in sys.path:
        sys.path.append(str(folder))


def package_folder(name: str) -> Path:
    """Where a package's code lies: in ``vendor/``, else where it is installed. Not imported for it.

    Raises:
        ModuleNotFoundError: it is nowhere.
    """
    if (HERE / "vendor" / name).is_dir():
        return HERE / "vendor" / name
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"package {name} is neither in vendor/ nor installed", name=name)
    return Path(next(iter(spec.submodule_search_locations)))
