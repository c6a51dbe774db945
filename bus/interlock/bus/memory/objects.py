"""Object stores in memory."""

from __future__ import annotations

from interlock.bus.errors import NotFound, StoreFull
from interlock.bus.streams import BucketSpec
from interlock.bus.transport import ObjectInfo


class MemoryObjects:
    """Buckets of whole objects by name."""

    def __init__(self) -> None:
        self._specs: dict[str, BucketSpec] = {}
        self._contents: dict[str, dict[str, bytes]] = {}

    def declare(self, spec: BucketSpec) -> None:
        self._specs[spec.name] = spec
        self._contents.setdefault(spec.name, {})

    def put(self, bucket: str, name: str, data: bytes) -> None:
        """Raises NotFound (bucket), StoreFull."""
        stored = self._bucket(bucket)
        limit = self._specs[bucket].max_bytes
        others = sum(len(content) for other, content in stored.items() if other != name)
        if 0 < limit < others + len(data):
            raise StoreFull(f"object store {bucket} holds its maximum of {limit} bytes", "Raise its max_bytes")
        stored[name] = bytes(data)

    def get(self, bucket: str, name: str) -> bytes:
        """Raises NotFound."""
        stored = self._bucket(bucket)
        if name not in stored:
            raise NotFound(f"no object {name} in {bucket}")
        return stored[name]

    def list(self, bucket: str) -> list[ObjectInfo]:
        """Raises NotFound (bucket)."""
        return [ObjectInfo(name, len(content)) for name, content in self._bucket(bucket).items()]

    def _bucket(self, name: str) -> dict[str, bytes]:
        if name not in self._contents:
            raise NotFound(f"no object store {name}", "Run `interlock up` first")
        return self._contents[name]
