"""What is kept of a text over its limit, by the rule of docs/languages.md, from what was printed."""

from firesteel_agent.capture import size


def line_starts(data):
    """Where lines begin, but at the very start; a carriage return ends one, and one with a newline is one
    end."""
    ends = (i for i, byte in enumerate(data) if byte == 10 or (byte == 13 and data[i + 1 : i + 2] != b"\n"))
    return [end + 1 for end in ends]


def expected(data, limit):
    """The whole, or head and tail."""
    if len(data) <= limit:
        return data, b""
    half = limit // 2
    head, tail = data[:half], data[-half:]
    starts = line_starts(head)
    # A return that ends the head is an end, even if its newline is cut away.
    if head.endswith(b"\r"):
        starts.append(half)
    at_line = bool(starts) and starts[-1] >= half / 2
    head = head[: starts[-1]] if at_line else head[: len(head) - _begun(head)]
    starts = line_starts(tail)
    if starts and starts[0] <= half / 2:
        tail = tail[starts[0] :]
    else:
        for _ in range(3):
            if tail[:1] and 0x80 <= tail[0] < 0xC0:
                tail = tail[1:]
    return head, tail


def _begun(data):
    """How many bytes at the end are the beginning of a character that goes on."""
    for back in (1, 2, 3):
        lead = data[-back] if back <= len(data) else 0
        if lead >= 0xC0:
            return 0 if back >= (2 if lead < 0xE0 else 3 if lead < 0xF0 else 4) else back
        if lead < 0x80:
            return 0
    return 0


def shown(data, limit):
    """The text that a statement shows of what was printed, its end not stripped."""
    if len(data) <= limit:
        return data.decode("utf-8", "replace")
    head, tail = expected(data, limit)
    missing = len(data) - len(head) - len(tail)
    lines = data.count(b"\n") - head.count(b"\n") - tail.count(b"\n")
    marker = f"[... {lines} lines, {size(missing)} cut: output.max_bytes is {size(limit)} ...]"
    joint = "" if head.endswith(b"\n") else "\n"
    return f"{head.decode('utf-8', 'replace')}{joint}{marker}\n{tail.decode('utf-8', 'replace')}"
