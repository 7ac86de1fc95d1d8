"""What of the wheels does not go into the package, and why.

Owns: the list, and taking what it names out of a tree. A pattern that finds nothing is no fault: wheels for another
Python or machine may lack what it names. Licence files are never named here.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

_CONVERTERS: Final = "makes, tunes or measures models, or is what onnxruntime does that with; plateseal only runs them"
_BUILDERS: Final = "serves whoever builds extensions, which a unit never does"
_CHECKERS: Final = "is read by type checkers alone"
_TESTS: Final = "tests the library, not this package"
_NOTES: Final = "is pip's note on how it installed; dpkg keeps its own, and strip has changed the files"

PRUNED: Final = {
    "bin": "is for the interpreter of the machine that built the package",
    "onnxruntime/capi/libonnxruntime.so.*": "is for programs in C; the module for Python has all of it inside",
    "onnxruntime/backend": _CONVERTERS,
    "onnxruntime/datasets": _CONVERTERS,
    "onnxruntime/quantization": _CONVERTERS,
    "onnxruntime/tools": _CONVERTERS,
    "onnxruntime/transformers": _CONVERTERS,
    "google": _CONVERTERS,
    "protobuf-*.dist-info": _CONVERTERS,
    "flatbuffers": _CONVERTERS,
    "flatbuffers-*.dist-info": _CONVERTERS,
    "pycparser": _BUILDERS,
    "pycparser-*.dist-info": _BUILDERS,
    "numpy/_core/include": _BUILDERS,
    "numpy/_core/lib": _BUILDERS,
    "numpy/distutils": _BUILDERS,
    "numpy/f2py": _BUILDERS,
    "numpy/random/_examples": _BUILDERS,
    "numpy/random/lib": _BUILDERS,
    "**/*.c": _BUILDERS,
    "**/*.h": _BUILDERS,
    "**/*.pxd": _BUILDERS,
    "**/*.pyx": _BUILDERS,
    "**/*.pyi": _CHECKERS,
    "**/py.typed": _CHECKERS,
    "**/tests": _TESTS,
    "numpy/_core/*_tests.*.so": _TESTS,
    "numpy/_core/_simd.*.so": _TESTS,
    "numpy/testing/print_coercion_tables.py": _TESTS,
    "cv2/typing": _CHECKERS,  # names parts of OpenCV that are not compiled, and is imported with the rest
    "cv2/load_config_py2.py": "is for Python 2",
    "*.dist-info/INSTALLER": _NOTES,
    "*.dist-info/REQUESTED": _NOTES,
    "*.dist-info/direct_url.json": _NOTES,
}
"""A pattern below `site-packages`, and what it names: the sentence goes on from there."""
LEFT_OUT: Final = frozenset(
    name for name in (pattern.removesuffix("-*.dist-info") for pattern in PRUNED) if f"{name}-*.dist-info" in PRUNED
)
"""Names of the distributions that are taken out whole: libraries ask for them, and plateseal does not need them."""


def prune(packages: Path) -> None:
    """Take what `PRUNED` names out of a `site-packages`, and the folders that are empty then."""
    for pattern in PRUNED:
        for path in sorted(packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    for folder in sorted((path for path in packages.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
