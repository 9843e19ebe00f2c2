"""Tells code that makes its own SparkContext, and must find none in its way. Calls nobody.

The agent and the Python interpreter's process both ask it.
"""

_WORDS = ("SparkContext(", "getOrCreate", ".builder")


def makes_its_own(code: str) -> bool:
    """Whether the code has words that make a SparkContext."""
    return any(word in code for word in _WORDS)


class ContextStopped(Exception):
    """User code stopped the SparkContext of a driver that is its cluster's application: there is no other."""

    def __init__(self) -> None:
        super().__init__("The SparkContext was stopped, and in cluster mode there can't be another one.")
