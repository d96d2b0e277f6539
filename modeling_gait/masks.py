"""Masks of the frames of walks: (B, T), 1 for a valid frame."""

import torch


def check_valid_first(mask: torch.Tensor) -> None:
    """Raise ValueError, with the walk, where a frame that is not valid comes before one that is: padding is on the right."""
    late = ((mask[:, 1:] > 0) & (mask[:, :-1] <= 0)).any(1)
    if late.any():
        raise ValueError(
            f"walk {int(late.nonzero()[0])} of the batch: in attention_mask valid frames must come first, padding on the right"
        )
