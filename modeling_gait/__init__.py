"""modeling_gait: describe a walk in words, get a 3D skeleton walk; hand it a walk, get words, numbers and a class."""

__version__ = "0.1.0"
