"""A pipeline of one model saved with its code, so that `pipeline(..., trust_remote_code=True)` works without this package; and
the arguments that every pipeline of transformers takes in a call."""

import os
from numbers import Integral
from pathlib import Path

from transformers import Pipeline, PreTrainedConfig
from transformers.dynamic_module_utils import custom_object_save


def walks_a_pass(pipe: Pipeline, batch_size: int | None, num_workers: int | None, default: int = 1) -> int:
    """`batch_size` of a call, else of `pipeline(...)`, else the default.

    Raises ValueError unless it is a whole number of 1 or more, and `num_workers` one of 0 or more. Walks are read in this
    process whatever `num_workers` says.
    """
    batch_size = (pipe._batch_size or default) if batch_size is None else batch_size
    for name, value, least in (("batch_size", batch_size, 1), ("num_workers", num_workers, 0)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, Integral) or value < least):
            raise ValueError(f"{name}: expected a whole number of {least} or more, got {value!r}")
    return batch_size


def save_pipeline(pipe: Pipeline, folder: str | Path, config_class: type[PreTrainedConfig], **kwargs) -> None:
    """The model and the pipeline's code. `config_class` is what the folder's `auto_map` names as its configuration.

    That class adds `custom_pipelines` as it is loaded (`know_pipeline`), which only `trust_remote_code=True` does. Were it
    written to config.json, as transformers writes it, `pipeline` would ask for `trust_remote_code` also where this package is
    installed and has registered the task.
    """
    os.makedirs(folder, exist_ok=True)
    own = pipe.model.config
    values = {k: v for k, v in own.to_dict().items() if k not in ("custom_pipelines", "auto_map")}
    pipe.model.config = config_class.from_dict(values)
    try:
        custom_object_save(pipe, folder)
        pipe.model.save_pretrained(folder, **kwargs)
    finally:
        pipe.model.config = own


def know_pipeline(
    loaded: PreTrainedConfig | tuple[PreTrainedConfig, dict], task: str, pipeline_class: type[Pipeline], auto_model: type
) -> PreTrainedConfig | tuple[PreTrainedConfig, dict]:
    """What a config's `from_pretrained` returned, with the pipeline that its folder can be used by."""
    config = loaded[0] if isinstance(loaded, tuple) else loaded
    impl = f"{pipeline_class.__module__.rsplit('.', 1)[-1]}.{pipeline_class.__name__}"
    config.custom_pipelines = {task: {"impl": impl, "pt": [auto_model.__name__]}}
    return loaded


__all__ = ["know_pipeline", "save_pipeline", "walks_a_pass"]
