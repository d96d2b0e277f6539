"""GaitProcessor: walks and words to the inputs of the models, and back.

In: walks (see GaitFeatureExtractor) and / or text. Out: `input_values`, `attention_mask` of walks; `input_ids` of text.
It also holds what describing measured walks needs: the normal walks' reference that severity is measured from.
"""

from collections.abc import Mapping

import numpy as np
from transformers import BatchFeature, ProcessorMixin

from .captions import WalkDescription, describe_walk, severity_from_parameters


class GaitProcessor(ProcessorMixin):
    """A feature extractor and a tokeniser in one.

    Args:
        feature_extractor: GaitFeatureExtractor.
        tokenizer: GaitTokenizer.
        normal_reference: of `captions.fit_reference` on the training people's normal walks; None: severity is not measured.
    """

    def __init__(self, feature_extractor=None, tokenizer=None, normal_reference: Mapping | None = None, **kwargs):
        super().__init__(feature_extractor, tokenizer)
        self.normal_reference = dict(normal_reference or {})

    def __call__(
        self,
        text: str | list[str] | None = None,
        walks: np.ndarray | list[np.ndarray] | None = None,
        return_tensors: str = "pt",
        **kwargs,
    ) -> BatchFeature:
        """Text and / or walks -> their inputs in one BatchFeature; text's mask is `text_attention_mask` where both are given.

        Raises ValueError where neither is given. Keyword arguments go to the feature extractor (`fps`, `skeleton`).
        """
        if text is None and walks is None:
            raise ValueError("GaitProcessor needs text, walks or both")
        data: dict = {}
        if walks is not None:
            data |= self.feature_extractor(walks, return_tensors=return_tensors, **kwargs)
        if text is not None:
            tokens = self.tokenizer(text, return_tensors=return_tensors, padding=True)
            data["input_ids"] = tokens["input_ids"]
            data["text_attention_mask" if walks is not None else "attention_mask"] = tokens["attention_mask"]
        return BatchFeature(data)

    def describe(
        self,
        parameters: Mapping[str, float],
        pathology: str | None,
        severity: float | None = None,
        attributes: Mapping | None = None,
    ) -> WalkDescription:
        """The description of a walk of a known class; a severity that is not known is measured from the reference."""
        classes = self.feature_extractor.classes
        unknown = severity is None or not np.isfinite(severity)
        if unknown:
            severity = None
            if self.normal_reference and pathology is not None:
                severity = severity_from_parameters(parameters, pathology, self.normal_reference, classes)
        return describe_walk(parameters, pathology, severity, attributes=attributes, classes=classes)


GaitProcessor.register_for_auto_class("AutoProcessor")

__all__ = ["GaitProcessor"]
