"""Loss of power under load: what had reached the disk in one moment, as a copy of the block device below the broker's
store, must hold whatever was acknowledged until then.

The store lies on an ext4 image on a loop device. The broker is stopped (SIGSTOP), the image copied between two writes of
the device, and the broker goes on; what was in the memory of the broker and of the file system only is not in the copy. A
second broker starts on the copy, whose journal the mount replays as after a loss of power. To show that the copy is
one, a round with `fast` must lose what nobody had synced. Needs the right to mount loop devices; says so where it has none.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from interlock.agents.audit.log.check import auditors, check_log
from interlock.agents.audit.log.sources import origin_of
from interlock.agents.workspace.keys import ensure_keys, load_trust
from interlock.agents.workspace.layout import Layout
from interlock.bus.errors import StoreDamaged
from interlock.bus.jetstream.transport import JetStreamTransport
from interlock.bus.server.embedded import Durability, EmbeddedServer
from interlock.envelope.checkpoint import Checkpoint, open_checkpoint
from scripts.campaigns.broker import Written, under_fire
from scripts.campaigns.load import WORKSPACE, prepared
from scripts.campaigns.result import Result

MUST_BE = "0 acknowledged lost on LEDGER and AUDIT with sync always, the audit log agrees"
SIZE_MB = 192
TRIES = 50


class NotAllowed(Exception):
    """No loop device can be mounted here."""


async def campaign(root: Path, losses: int, seed: int) -> Result:
    dice = random.Random(seed)
    try:
        safe = await rounds(root / "safe", "safe", losses, dice)
        fast = await rounds(root / "fast", "fast", 1, dice)
    except NotAllowed as error:
        return Result(campaign="power", skipped=f"no loop device can be mounted here: {error}")
    failures = safe.failures
    if not fast.lost:
        failures.append("an image with `fast` lost nothing: this simulates no loss of power")
    figures = {**safe.figures, "lost with fast": fast.lost, "of": fast.asked}
    return Result(campaign="power", amount=losses, must_be=MUST_BE, figures=figures, failures=failures[:20])


class Round:
    """What a number of losses came to. asked: of how many acknowledged messages."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.figures: dict[str, float] = {}
        self.lost = 0
        self.asked = 0


async def rounds(root: Path, durability: Durability, losses: int, dice: random.Random) -> Round:
    told = Round()
    root.mkdir()
    layout, settings = prepared(root, durability)
    ensure_keys(layout, settings.workspace)
    image, disk = root / "disk.img", root / "disk"
    await formatted(image)
    async with mounted(image, disk), EmbeddedServer(disk / "store", durability) as server:

        async def strike(written: Written) -> None:
            for number in range(losses):
                await written.another()
                await anyio.sleep(dice.uniform(0.3, 1.5))
                copy, until, checkpoint = root / f"copy-{number}.img", 0, None
                os.kill(server.pid, signal.SIGSTOP)
                try:
                    until = len(written.acknowledged)
                    checkpoint = kept_checkpoint(layout)
                    await anyio.to_thread.run_sync(copied, image, disk, copy)
                finally:
                    os.kill(server.pid, signal.SIGCONT)
                await looked_at(root / f"after-{number}", copy, layout, written, until, checkpoint, told, durability)
                copy.unlink()

        failures, figures = await under_fire(root, layout, settings, server.url, strike)
    told.failures = failures + told.failures
    told.figures = {**figures, "asked of images": told.asked}
    return told


async def looked_at(
    place: Path,
    copy: Path,
    layout: Layout,
    written: Written,
    until: int,
    checkpoint: Checkpoint | None,
    told: Round,
    durability: Durability,
) -> None:
    """A broker on the copy, asked for what was acknowledged. With `fast` it may be unable to read its store at all."""
    told.asked += until
    try:
        async with (
            mounted(copy, place),
            EmbeddedServer(place / "store", durability) as server,
            JetStreamTransport.connect(server.url, name="campaign") as transport,
        ):
            lost = await written.lost(transport, until)
            if durability == "fast":
                told.lost += len(lost)
                return
            told.failures += [f"{place.name}: {one}" for one in lost]
            verdict = await check_log(transport, WORKSPACE, load_trust(layout), known=checkpoint)
            told.failures += [f"{place.name}: {one.kind} {one.stream} {one.detail}"[:200] for one in verdict.findings]
    except StoreDamaged as error:
        if durability == "fast":
            told.lost += until
        else:
            told.failures.append(f"{place.name}: {error}")


def kept_checkpoint(layout: Layout) -> Checkpoint | None:
    """What the auditor had signed by then and kept on another disk."""
    if not layout.checkpoint.exists():
        return None
    return open_checkpoint(layout.checkpoint.read_bytes(), auditors(load_trust(layout)), origin_of(WORKSPACE))


def copied(image: Path, disk: Path, copy: Path) -> None:
    """The device as it was in one moment: copied until it was not written to meanwhile."""
    for _ in range(TRIES):
        before = device_writes(disk)
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
        if device_writes(disk) == before:
            return
    raise RuntimeError(f"{image} is written to without end")


def device_writes(disk: Path) -> list[str]:
    """Writes begun, done and under way of the device that is mounted there (Linux, Documentation/block/stat)."""
    device = disk.stat().st_dev
    fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    return [fields[4], fields[6], fields[8]]


async def formatted(image: Path) -> None:
    with image.open("wb") as file:
        file.truncate(SIZE_MB << 20)
    if shutil.which("mkfs.ext4") is None:
        raise NotAllowed("there is no mkfs.ext4")
    await anyio.run_process(["mkfs.ext4", "-q", "-F", str(image)])


@asynccontextmanager
async def mounted(image: Path, place: Path) -> AsyncIterator[None]:
    """Raises NotAllowed."""
    place.mkdir()
    try:
        done = await anyio.run_process(["mount", "-o", "loop", str(image), str(place)], check=False)
    except OSError as error:
        raise NotAllowed(str(error)) from error
    if done.returncode:
        raise NotAllowed(done.stderr.decode().strip()[:120] or f"mount ended with {done.returncode}")
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.run_process(["umount", str(place)], check=False)
