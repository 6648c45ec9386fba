"""`import torchvision` beside a torch without CUDA, where torchvision was built for CUDA.

PyPI's torchvision for Linux is such a build. Its compiled operators do not load beside a CPU build of torch, and the
import ends with "operator torchvision::nms does not exist", because it describes that operator to the compiler.
Declaring the two operators that are described whether they loaded or not is enough for the models, the transforms and
the data sets, which use none. `torchvision.ops.nms` and its like still say that the operators are not there.

    python torchvision_without_cuda.py

looks whether the environment of the Python that runs it needs this, and if so puts this file there with a `.pth` file
that imports it at Python's start. Nothing else is imported until a script imports torchvision; a torchvision that
matches its torch is left alone.
"""

import sys

ERROR = "operator torchvision::nms does not exist"
SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


class Finder:
    """Finds torchvision where Python would, and loads it with the operators declared if it needs them."""

    declared = None

    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module
            spec.loader.exec_module = lambda module: self.load(run, module)
        return spec

    def load(self, run, module):
        try:
            run(module)
        except RuntimeError as error:
            if ERROR not in str(error):
                raise
            for name in [name for name in sys.modules if name.startswith("torchvision.")]:
                del sys.modules[name]
            import torch

            self.declared = torch.library.Library("torchvision", "DEF")  # the operators vanish with this object
            for schema in SCHEMAS:
                self.declared.define(schema)
            run(module)


def main():
    """Add this file to the environment if it is needed there, remove it if not; the exit status."""
    import shutil
    import subprocess
    import sysconfig
    from pathlib import Path

    here = Path(sysconfig.get_path("purelib"))
    module, start = here / "torchvision_without_cuda.py", here / "torchvision_without_cuda.pth"
    attempt = [sys.executable, "-c", "import torchvision"]
    for path in (start, module):
        path.unlink(missing_ok=True)
    said = subprocess.run(attempt, capture_output=True, text=True)
    if said.returncode and ERROR in said.stderr:
        shutil.copyfile(__file__, module)
        start.write_text("import torchvision_without_cuda\n")
        said = subprocess.run(attempt, capture_output=True, text=True)
    if said.returncode:
        reason = (said.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"set-up: torchvision cannot be imported by {sys.executable}: {reason}", file=sys.stderr)
    return said.returncode


if __name__ == "__main__":
    sys.exit(main())
sys.meta_path.insert(0, Finder())
