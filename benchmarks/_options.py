"""What the benchmarks of the diagnostics and of the profiler are told alike."""

import argparse
from pathlib import Path


def options(description: str, *, seeds: int, only: str = "") -> argparse.ArgumentParser:
    """A parser with ``--photos`` and ``--seeds``; ``only`` says what ``--only`` chooses among, where it is there."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--photos", type=Path, help="a folder with train/, valid/ and test/, as a further data set")
    parser.add_argument("--seeds", type=int, default=seeds, help="of each training")
    if only:
        parser.add_argument("--only", default="", help=f"a regular expression for the names of {only}")
    return parser
