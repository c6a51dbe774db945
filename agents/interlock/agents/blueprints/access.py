"""What goals' skills are given of a kubeconfig: one context, with everything that it names written into it. A skill in its
sandbox can read nothing else, and can start no helper that would fetch a token.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import msgspec

from interlock.agents.errors import UserError
from interlock.agents.workspace.files import read_file
from interlock.agents.workspace.keys import write_private
from interlock.agents.workspace.settings import read_yaml
from interlock.skills.infrastructure.executing import KUBECONFIG

_MAX_BYTES = 1 << 20
_EMBEDDED = {
    "certificate-authority": "certificate-authority-data",
    "client-certificate": "client-certificate-data",
    "client-key": "client-key-data",
}


def put_access(kubeconfig: Path | None, directory: Path) -> Path:
    """Writes directory/kubeconfig (mode 600) from a kubeconfig, by default that of KUBECONFIG or `~/.kube/config`, and gives
    its path. Raises UserError.
    """
    path = kubeconfig or Path(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    value, _ = read_yaml(path)
    try:
        config = _one_context(value, path.resolve().parent)
    except (KeyError, TypeError, StopIteration, AttributeError) as error:
        raise UserError("bad_kubeconfig", f"{path} is no kubeconfig with a current context", exit_code=2) from error
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(directory / KUBECONFIG, msgspec.json.encode(config))
    return directory / KUBECONFIG


def _one_context(value: Any, base: Path) -> dict[str, Any]:
    current = value["current-context"]
    context = _named(value["contexts"], current)["context"]
    cluster = _named(value["clusters"], context["cluster"])
    user = _named(value["users"], context["user"])
    if "exec" in user["user"] or "auth-provider" in user["user"]:
        detail = (
            f"the user {user['name']} of the kubeconfig fetches its token by a program, which a skill may not start"
        )
        raise UserError("kubeconfig_exec", detail, "Give a kubeconfig with the token of a service account", 2)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "contexts": [{"name": current, "context": context}],
        "clusters": [cluster | {"cluster": _embedded(cluster["cluster"], base)}],
        "users": [user | {"user": _embedded(user["user"], base)}],
    }


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _embedded(part: dict[str, Any], base: Path) -> dict[str, Any]:
    result = dict(part)
    for key, into in _EMBEDDED.items():
        if key in result:
            data = read_file(base / str(result.pop(key)), _MAX_BYTES)
            result.setdefault(into, base64.b64encode(data).decode())
    if "tokenFile" in result:
        result["token"] = read_file(base / str(result.pop("tokenFile")), _MAX_BYTES).decode().strip()
    return result
