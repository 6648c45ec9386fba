"""Time to the same validation accuracy: features cached once, against a forward pass every epoch.

    .venv-ml/bin/python benchmarks/cached_features.py

A linear probe on the drawn sample data set, one thread, from the start of the process to the first epoch whose
validation accuracy reaches 0.95. Both runs walk through the same epochs. The learning rate is small, so that it
takes some 25 of them; N epochs can gain N times at most, and a job that is good after two epochs gains little.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GOAL = 10.0
TARGET_ACCURACY = 0.95
EPOCH = re.compile(r"^epoch=(\d+) .*valid_accuracy=([0-9.]+)")


def prepare(folder: Path) -> list[str]:
    """Draw the sample data set, stage the pretrained weights, and return train.py's arguments for both."""
    for script, target in (("tools/sample_dataset.py", "data"), ("ml_scripts/pretrained.py", "weights")):
        subprocess.run([sys.executable, ROOT / script, folder / target], check=True, stdout=subprocess.DEVNULL)
    flags = [f"--{split}={folder / 'data' / split}" for split in ("train", "valid", "test")]
    places = [f"--model-dir={folder / 'model'}", f"--output-dir={folder / 'output'}"]
    return [*flags, f"--pretrained-dir={folder / 'weights'}", *places]


def start(arguments: list[str], **environ: object) -> subprocess.Popen:
    """Start train.py with one thread; its output is read line by line."""
    return subprocess.Popen(
        [sys.executable, ROOT / "ml_scripts" / "train.py", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | {name: str(value) for name, value in environ.items()},
    )


def seconds_to_target(arguments: list[str]) -> tuple[float, int]:
    """Seconds from the start of the process to the first epoch at the target accuracy, and that epoch's number."""
    started = time.monotonic()
    process = start(arguments)
    try:
        for line in process.stdout:
            found = EPOCH.match(line)
            if found and float(found[2]) >= TARGET_ACCURACY:
                return time.monotonic() - started, int(found[1])
    finally:
        process.kill()
        process.wait()
    raise SystemExit(f"train.py ended before it reached a validation accuracy of {TARGET_ACCURACY}")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        probe = [*prepare(Path(folder)), "--head=linear", "--lr=0.00005", "--epochs=60"]
        cached, epochs = seconds_to_target(probe)
        every_epoch, same_epochs = seconds_to_target([*probe, "--no-feature-cache"])
    print(
        f"cached features: {every_epoch / cached:.1f} times faster to {TARGET_ACCURACY:.0%} validation accuracy "
        f"({cached:.1f} s in {epochs} epochs, against {every_epoch:.1f} s in {same_epochs} with a forward pass each; "
        f"goal {GOAL:.0f} times)"
    )


if __name__ == "__main__":
    main()
