"""modeling_gait: describe a walk in words, get a 3D skeleton walk; hand it a walk, get words, numbers and a class.

Importing the package makes its models known to `AutoConfig`, `AutoModel`, `AutoTokenizer`, `AutoFeatureExtractor`,
`AutoProcessor`, and its pipelines to `transformers.pipeline` (see auto.py). The names of __init__.pyi are imported when they
are used.
"""

import ast
from importlib import import_module
from pathlib import Path

from .auto import register
from .released import released  # noqa: F401  (the function, in place of the module of its name)

__version__ = "0.1.0"

_STUB = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
_HOME = {alias.name: line.module for line in _STUB.body if isinstance(line, ast.ImportFrom) for alias in line.names}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_HOME[name]}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


register()
