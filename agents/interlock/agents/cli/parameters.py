"""Arguments that many verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Dir = Annotated[Path | None, Parameter(name="--dir", help="The workspace; default: the nearest directory upwards.")]
Nats = Annotated[
    str, Parameter(name="--nats", help="A NATS server's url; default: the settings', or the one running here.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="For machines.")]
As = Annotated[str, Parameter(name="--as", help="Whose key decides: human, or human.NAME.")]
Out = Annotated[Path | None, Parameter(name=["-o", "--out"], help="Where to write.")]
