"""Texts that would run as scripts where a page took them for more than text."""

OWNED = "document.title='owned'"
SCRIPTS = [
    f"<script>{OWNED}</script>",
    f'<img src=x onerror="{OWNED}">',
    f'"><svg onload={OWNED}>',
    f"javascript:{OWNED}",
    f'</textarea></pre><iframe srcdoc="<script>parent.{OWNED}</script>">',
]
