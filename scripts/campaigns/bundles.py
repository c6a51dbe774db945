"""Bundles of a real goal, changed in every way that a forger might: none may verify against the roots one holds."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from interlock.agents.audit.bundle import make_bundle
from interlock.agents.audit.packing import packed, unpacked
from interlock.agents.audit.verify_bundle import verify_bundle
from interlock.agents.cli.submission import wait_for_audit
from interlock.agents.contract.store import load_contract
from interlock.agents.kms.signatures import ED25519
from interlock.agents.supervision.house import house
from interlock.agents.workspace.keys import load_roots
from interlock.bus.transport import Transport
from interlock.envelope.canonical import canonical
from interlock.envelope.ids import sha256_hex
from interlock.envelope.keys import SigningKey, base64url
from interlock.envelope.signing import BUNDLE_DOMAIN, pre_auth
from scripts.campaigns.crew import crew
from scripts.campaigns.lines import SKILLS
from scripts.campaigns.load import WORKSPACE, Load, all_answer, prepared
from scripts.campaigns.result import Result

MUST_BE = "0 undetected"
Content = dict[str, Any]
LISTS = ("hops", "journal", "effects", "ledger", "artefacts")


async def campaign(root: Path, amount: int, seed: int) -> Result:
    layout, settings = prepared(root, "fast")
    async with house(layout, settings, agents=()) as place:
        with crew(root, place.url, root / "points", SKILLS):
            await all_answer(place.transport)
            load = Load(place.transport, root)
            bundles = [await bundle_of(load, place.transport, root, layout) for _ in range(2)]
    roots = load_roots(layout)
    return mutated(bundles[0], bundles[1], roots, amount, seed)


async def bundle_of(load: Load, transport: Transport, root: Path, layout: Any) -> bytes:
    goal_id = await load.submit()
    await load.wait(goal_id)
    await wait_for_audit(transport, WORKSPACE, goal_id)
    path = await make_bundle(
        transport,
        WORKSPACE,
        goal_id,
        trust=layout.trust.read_bytes(),
        roots=load_roots(layout),
        contract=[version.data for version in load_contract(layout).versions],
        key_uri=f"file:{layout.keys / 'auditor.nk'}",
        out=root / f"{goal_id}.json.gz",
    )
    return path.read_bytes()


def mutated(bundle: bytes, other: bytes, roots: list[str], amount: int, seed: int) -> Result:
    """amount changes of one bundle; other: of another goal of the same workspace, to take pieces from."""
    dice = random.Random(seed)
    failures = [] if verify_bundle(bundle, roots).valid else ["the unchanged bundle does not verify"]
    tried: Counter[str] = Counter()
    forger = Forger(bundle, other, dice)
    kinds = list(forger.kinds)
    while tried.total() < amount:
        kind = kinds[tried.total() % len(kinds)]
        changed = forger.kinds[kind]()
        tried[kind] += 1
        if changed != bundle and verify_bundle(changed, roots).valid and len(failures) < 20:
            failures.append(f"{kind} went undetected (number {tried.total()})")
    figures: dict[str, float] = dict(sorted(tried.items()))
    return Result(campaign="bundles", amount=tried.total(), must_be=MUST_BE, figures=figures, failures=failures)


class Forger:
    """kinds: name → makes a changed bundle. The last three sign what they made with a key of their own."""

    def __init__(self, bundle: bytes, other: bytes, dice: random.Random) -> None:
        self._bundle, self._dice = bundle, dice
        self._text, self._other = unpacked(bundle), msgspec.json.decode(unpacked(other))
        self._key = SigningKey.generate()
        self.kinds: dict[str, Callable[[], bytes]] = {
            "flip a bit": lambda: self._flipped(self._bundle),
            "flip a bit of the text": lambda: packed(self._flipped(self._text)),
            "truncate": lambda: self._bundle[: dice.randrange(len(bundle))],
            "truncate the text": lambda: packed(self._text[: dice.randrange(len(self._text))]),
            "append": lambda: self._bundle + dice.randbytes(dice.randint(1, 40)),
            "drop": lambda: self._listed(self._drop),
            "insert": lambda: self._listed(self._insert),
            "reorder": lambda: self._listed(self._reorder),
            "cut the end": lambda: self._listed(self._cut),
            "roll back": self._rolled_back,
            "take a section": self._taken,
            "swap keys": self._swapped,
            "drop, signed anew": lambda: self._listed(self._drop, anew=True),
            "take a section, signed anew": lambda: self._taken(anew=True),
            "swap keys, signed anew": lambda: self._swapped(anew=True),
        }

    def _content(self) -> Content:
        content: Content = msgspec.json.decode(self._text)
        return content

    def _flipped(self, data: bytes) -> bytes:
        place = self._dice.randrange(len(data))
        return data[:place] + bytes([data[place] ^ (1 << self._dice.randrange(8))]) + data[place + 1 :]

    def _listed(self, change: Callable[[list[Any], str], None], *, anew: bool = False) -> bytes:
        content = self._content()
        name = self._dice.choice([name for name in LISTS if content["sections"][name]])
        change(content["sections"][name], name)
        return self._sealed(content, anew=anew)

    def _drop(self, entries: list[Any], name: str) -> None:
        del entries[self._dice.randrange(len(entries))]

    def _insert(self, entries: list[Any], name: str) -> None:
        source = self._other["sections"][name] or entries
        entries.insert(self._dice.randint(0, len(entries)), self._dice.choice(source))

    def _reorder(self, entries: list[Any], name: str) -> None:
        before = list(entries)
        if len(entries) < 2:
            entries.append(entries[0])
        while entries == before:
            self._dice.shuffle(entries)

    def _cut(self, entries: list[Any], name: str) -> None:
        del entries[self._dice.randrange(len(entries)) :]

    def _rolled_back(self) -> bytes:
        """What an earlier state would have looked like: an older number in place of the one that is there."""
        content = self._content()
        sections = content["sections"]
        what = self._dice.choice(["trust", "contract", "goal", "signatures", "version", "time"])
        if what == "trust":
            sections["trust"]["store"] = sections["trust"]["store"].replace('version\\":', 'version\\":0', 1)[:-1]
        elif what == "contract":
            sections["contract"] = sections["contract"][:-1]
        elif what == "goal":
            status = sections["goal"]["status"]
            status["phase" if self._dice.random() < 0.5 else "outcome"] = "running"
        elif what == "signatures":
            sections["signatures"] = None
        elif what == "version":
            content["manifest"]["bundleVersion"] -= 1
        else:
            content["manifest"]["madeAt"] = "2020-01-01T00:00:00.000Z"
        return self._sealed(content, listed=self._dice.random() < 0.5)

    def _taken(self, *, anew: bool = False) -> bytes:
        content = self._content()
        names = [name for name in LISTS if content["sections"][name] != self._other["sections"][name]]
        name = self._dice.choice([*names, "goal"])
        content["sections"][name] = self._other["sections"][name]
        return self._sealed(content, anew=anew)

    def _swapped(self, *, anew: bool = False) -> bytes:
        content = self._content()
        what = self._dice.choice(["signer", "roots", "hop"])
        if what == "signer":
            content["manifest"]["keyId"] = self._key.key_id
        elif what == "roots":
            content["sections"]["trust"]["roots"] = [self._key.key_id]
        else:
            hop = self._dice.choice(content["sections"]["hops"])
            envelope = msgspec.json.decode(hop["wire"])
            envelope["keyId"] = self._key.key_id
            hop["wire"] = canonical(envelope).decode()
        return self._sealed(content, anew=anew)

    def _sealed(self, content: Content, *, anew: bool = False, listed: bool = True) -> bytes:
        """listed: the manifest names the digests of what is there now; anew: the forger signs it."""
        manifest = content["manifest"]
        if listed or anew:
            manifest["sections"] = {name: sha256_hex(canonical(part)) for name, part in content["sections"].items()}
        if anew:
            manifest |= {"scheme": ED25519, "keyId": self._key.key_id, "publicKey": ""}
            content["signature"] = base64url(self._key.sign(pre_auth(BUNDLE_DOMAIN, canonical(manifest))))
        return packed(canonical(content))
