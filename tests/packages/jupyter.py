"""A kernel of a Jupyter server, over HTTP and its websocket, as a browser's page has it."""

from __future__ import annotations

import json
import uuid
from typing import Any

import requests
from websocket import create_connection

LIMIT = 180.0


class Kernel:
    """One kernel, which runs cells."""

    def __init__(self, url: str, token: str, name: str):
        self.url = url
        self.headers = {"Authorization": f"token {token}"}
        made = requests.post(f"{url}/api/kernels", json={"name": name}, headers=self.headers, timeout=LIMIT)
        assert made.status_code == 201, made.text
        self.number = made.json()["id"]
        channels = f"{url.replace('http', 'ws', 1)}/api/kernels/{self.number}/channels"
        self.socket = create_connection(channels, timeout=LIMIT, header=self.headers)

    def run(self, code: str) -> str:
        """What a cell shows, as text; its status must be `ok`."""
        asked = uuid.uuid4().hex
        header = {
            "msg_id": asked,
            "msg_type": "execute_request",
            "session": asked,
            "version": "5.3",
            "username": "",
        }
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False}
        content |= {"user_expressions": {}, "stop_on_error": True}
        message = {
            "header": header,
            "parent_header": {},
            "metadata": {},
            "content": content,
            "channel": "shell",
        }
        self.socket.send(json.dumps(message))
        shown: list[str] = []
        left = {"execute_reply", "idle"}
        while left:
            got: dict[str, Any] = json.loads(self.socket.recv())
            if got["parent_header"].get("msg_id") != asked:
                continue
            kind, content = got["header"]["msg_type"], got["content"]
            if kind == "stream":
                shown.append(content["text"])
            elif kind in ("execute_result", "display_data"):
                shown.append(content["data"].get("text/plain", ""))
            elif kind == "error":
                shown.append("\n".join(content["traceback"]))
            elif kind == "execute_reply":
                assert content["status"] == "ok", "".join(shown)
                left.discard(kind)
            elif kind == "status":
                left.discard(content["execution_state"])
        return "".join(shown)

    def close(self) -> None:
        """End the kernel, and with it its session."""
        self.socket.close()
        ended = requests.delete(f"{self.url}/api/kernels/{self.number}", headers=self.headers, timeout=LIMIT)
        assert ended.status_code == 204, ended.text
