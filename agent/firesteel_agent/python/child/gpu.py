"""Keeps PyTorch to the part of a GPU that the session holds. Calls imported.

Others take their part from the environment (docs/gpus.md); PyTorch has to be told by a call, and would take
all of the memory.
"""

import os
import sys
from typing import Any

from .imported import WhenImported


def keep_to_share() -> None:
    """Where the session shares a GPU, bound PyTorch's memory once it is imported."""
    fraction = os.environ.get("FIRESTEEL_GPU_FRACTION")
    if fraction:
        WhenImported("torch", lambda torch: _bound(torch, float(fraction)))


def _bound(torch: Any, fraction: float) -> None:
    # Said now it would start CUDA, and take memory; what is queued here is done when user code starts it.
    try:
        torch.cuda._lazy_call(lambda: torch.cuda.set_per_process_memory_fraction(fraction))
    except Exception as failure:
        sentence = "PyTorch's memory can't be bounded to the session's part of the GPU"
        print(f"{sentence}: {failure}", file=sys.stderr)
