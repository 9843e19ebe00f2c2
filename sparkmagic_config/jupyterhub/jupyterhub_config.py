"""What a JupyterHub needs for Firesteel; `load_subconfig(PATH)` in the hub's own configuration takes it in.

Each user's server starts through start-singleuser.sh, which writes that user's ~/.sparkmagic/config.json and
kernels as the user: the hub, which may be root, writes nothing into a home. It works with every spawner whose
users see this folder; images of containers need it, and sparkmagic, inside.
"""

import os
from pathlib import Path

c = get_config()  # noqa: F821

START = Path(__file__).resolve().parent / "start-singleuser.sh"


async def firesteel_environment(spawner):
    """Before a spawn: the user's API token, where the hub's authenticator keeps one in `auth_state`."""
    state = await spawner.user.get_auth_state()
    token = (state or {}).get("firesteel_token")
    if token:
        secret = {"FIRESTEEL_AUTH": "token", "FIRESTEEL_SECRET": token}
        spawner.environment = {**spawner.environment, **secret}


c.Spawner.cmd = [str(START), "jupyterhub-singleuser"]
c.Spawner.environment = {
    "FIRESTEEL_URL": os.environ.get("FIRESTEEL_URL", "http://127.0.0.1:8998"),
    "FIRESTEEL_AUTH": os.environ.get("FIRESTEEL_AUTH", "none"),
}
c.Spawner.pre_spawn_hook = firesteel_environment
