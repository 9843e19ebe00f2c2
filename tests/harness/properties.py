"""Java properties files, as the server writes them for spark-submit."""

from __future__ import annotations

import re


def parse(text: str) -> dict[str, str]:
    """Keys and values; everything odd is escaped as UTF-16, one `\\uXXXX` a unit."""

    def plain(part: str) -> str:
        units = re.sub(r"\\u([0-9a-f]{4})", lambda found: chr(int(found[1], 16)), part)
        return units.encode("utf-16", "surrogatepass").decode("utf-16")

    pairs = (line.split("=", 1) for line in text.splitlines())
    return {plain(key): plain(value) for key, value in pairs}
