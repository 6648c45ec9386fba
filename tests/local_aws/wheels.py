"""Small packages, and archives that bring them along: what a job or a model installs where no index is reachable."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping


def wheel(name: str, version: str) -> tuple[str, bytes]:
    """A wheel's file name and content: a module that has a `__version__`, and a command `NAME-says` that prints it."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"__version__ = {version!r}\n\n\ndef main():\n    print('installed', __version__)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name}-says = {name}:main\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return f"{name}-{version}-py3-none-any.whl", buffer.getvalue()


def archive(files: Mapping[str, str | bytes], *packages: tuple[str, str], wheels: str = "wheels") -> bytes:
    """A tar.gz of files, with the wheels of packages (name, version) in a folder `wheels`."""
    contents = dict(files)
    for name, version in packages:
        file_name, content = wheel(name, version)
        contents[f"{wheels}/{file_name}"] = content
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for path, content in contents.items():
            body = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(body), 0o755 if path.endswith(".sh") else 0o644
            tar.addfile(info, io.BytesIO(body))
    return buffer.getvalue()
