"""Tells code that makes its own SparkContext, and must find none in its way. Calls nobody.

The agent and the Python interpreter's process both ask it.
"""

_WORDS = ("SparkContext(", "getOrCreate", ".builder")


def makes_its_own(code: str) -> bool:
    """Whether the code has words that make a SparkContext."""
    return any(word in code for word in _WORDS)
