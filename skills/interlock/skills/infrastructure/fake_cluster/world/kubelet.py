"""Pods as a node runs them: scheduled, started, ready after a while, crashing with back-off, ending."""

from __future__ import annotations

from dataclasses import dataclass

from interlock.skills.infrastructure.api_quantities import milli, whole
from interlock.skills.infrastructure.fake_cluster.kinds import PODS
from interlock.skills.infrastructure.fake_cluster.store import Object
from interlock.skills.infrastructure.fake_cluster.times import stamp
from interlock.skills.infrastructure.fake_cluster.world.ground import Ground
from interlock.skills.infrastructure.fake_cluster.world.workloads import base_memory_bytes
from interlock.skills.infrastructure.fake_cluster.writing import Author

_AUTHOR = Author(manager="kubelet")
_FIRST_BACKOFF_MS = 10_000
_LONGEST_BACKOFF_MS = 300_000
_CRASHES_AFTER_MS = 1_000
_PULL_REASONS = ("ErrImagePull", "ImagePullBackOff")


@dataclass(slots=True)
class _Run:
    """What a node knows of one pod. All times in ms; 0: not yet."""

    scheduled_ms: int = 0
    started_ms: int = 0
    ready_ms: int = 0
    ends_ms: int = 0
    starts_again_ms: int = 0
    restarts: int = 0
    last_reason: str = ""
    out_of_memory: bool = False


class Kubelet:
    """One node that holds everything, and the times that the whole-second stamps of objects are too coarse for."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._runs: dict[str, _Run] = {}

    def look_at(self, pod: Object) -> None:
        """Brings one pod to where it should be now, and comes back when something is due."""
        run = self._runs.setdefault(pod["metadata"]["uid"], _Run())
        now = self._ground.now_ms()
        if "deletionTimestamp" in pod["metadata"]:
            self._end(pod, run, now)
            return
        if not run.scheduled_ms and not self._schedule(pod, run, now):
            return
        behaviour = self._behaviour(pod)
        if behaviour != "pull":
            self._run(pod, run, behaviour, now)
        self._report(pod, run, behaviour, now)

    def ready_since_ms(self, pod: Object) -> int:
        return self._runs[pod["metadata"]["uid"]].ready_ms

    def started_ms(self, pod: Object) -> int:
        """When its containers last started, 0 if they do not run."""
        run = self._runs.get(pod["metadata"]["uid"])
        return run.started_ms if run is not None else 0

    def used(self, pod: Object, memory_bytes: int) -> None:
        """Its memory was measured: over the limit, the kernel kills it."""
        limit = sum_resources(pod, "limits", "memory")
        run = self._runs[pod["metadata"]["uid"]]
        if limit is not None and memory_bytes > limit and run.started_ms:
            run.out_of_memory = True
            self.look_at(pod)

    def _is_too_large(self, pod: Object) -> bool:
        """It asks for more than its limit as soon as it runs, and never becomes ready."""
        limit = sum_resources(pod, "limits", "memory")
        return limit is not None and base_memory_bytes(self._ground, pod) > limit

    def _schedule(self, pod: Object, run: _Run, now: int) -> bool:
        room = self._ground.settings.node_cpu_m
        asked = sum_resources(pod, "requests", "cpu") or 0
        if room is not None and self._requested_m() + asked > room:
            message = "0/1 nodes are available: 1 Insufficient cpu."
            condition = _condition("PodScheduled", now, holds=False, reason="Unschedulable", message=message)
            self._put(pod, {"phase": "Pending", "conditions": [condition], "qosClass": "Burstable"})
            return False
        run.scheduled_ms = now
        live = self._ground.store.get(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        if live is not None:
            self._ground.store.put(PODS, {**live, "spec": {**live["spec"], "nodeName": "node-1"}})
        return True

    def _requested_m(self) -> int:
        placed = [pod for pod in self._ground.store.all(PODS) if pod["spec"].get("nodeName")]
        return sum(sum_resources(pod, "requests", "cpu") or 0 for pod in placed)

    def _run(self, pod: Object, run: _Run, behaviour: str, now: int) -> None:
        starts = run.starts_again_ms or run.scheduled_ms + self._ground.settings.start_ms
        if not run.started_ms:
            if now < starts:
                self._again(pod, starts)
                return
            run.started_ms, run.starts_again_ms = starts, 0
        too_large = not run.ready_ms and self._is_too_large(pod)
        if too_large and now >= run.started_ms + _CRASHES_AFTER_MS:
            run.out_of_memory = True
        if run.out_of_memory or (behaviour == "crash" and now >= run.started_ms + _CRASHES_AFTER_MS):
            self._crash(pod, run, "OOMKilled" if run.out_of_memory else "Error", now)
            return
        if behaviour == "crash" or too_large:
            self._again(pod, run.started_ms + _CRASHES_AFTER_MS)
        ready_at = run.started_ms + self._readiness_ms(pod)
        if behaviour in ("never_ready", "crash") or too_large or run.ready_ms:
            return
        if now >= ready_at:
            run.ready_ms = ready_at
        else:
            self._again(pod, ready_at)

    def _crash(self, pod: Object, run: _Run, reason: str, now: int) -> None:
        wait = min(_LONGEST_BACKOFF_MS, _FIRST_BACKOFF_MS * 2 ** min(run.restarts, 10))
        run.restarts += 1
        run.started_ms = run.ready_ms = 0
        run.out_of_memory = False
        run.last_reason = reason
        run.starts_again_ms = now + wait
        self._ground.event(PODS, pod, "BackOff", f"Back-off restarting failed container, last state {reason}")
        self._again(pod, run.starts_again_ms)

    def _end(self, pod: Object, run: _Run, now: int) -> None:
        run.ready_ms = run.started_ms = 0
        run.ends_ms = run.ends_ms or now + self._ground.settings.terminate_ms
        if now < run.ends_ms:
            self._again(pod, run.ends_ms)
        elif not pod["metadata"].get("finalizers"):
            live = self._ground.store.get(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
            if live is not None and live["metadata"]["uid"] == pod["metadata"]["uid"]:
                self._ground.store.remove(PODS, live)
            self._runs.pop(pod["metadata"]["uid"], None)

    def _report(self, pod: Object, run: _Run, behaviour: str, now: int) -> None:
        ready = bool(run.ready_ms)
        before = {one["type"]: one for one in pod["status"].get("conditions") or []}
        conditions = [_condition("PodScheduled", run.scheduled_ms, holds=True)]
        for kind, holds in (("Initialized", True), ("ContainersReady", ready), ("Ready", ready)):
            since = run.ready_ms if ready and kind != "Initialized" else now
            fresh = _condition(kind, since, holds=holds, reason="" if holds else "ContainersNotReady")
            old = before.get(kind)
            conditions.append(dict(old) if old is not None and old["status"] == fresh["status"] else fresh)
        status: Object = {
            "phase": "Running" if run.started_ms or run.restarts else "Pending",
            "conditions": conditions,
            "startTime": stamp(run.scheduled_ms),
            "qosClass": "Burstable",
            "containerStatuses": [self._container(one, run, behaviour, ready) for one in pod["spec"]["containers"]],
        }
        self._put(pod, status)

    def _container(self, spec: Object, run: _Run, behaviour: str, ready: bool) -> Object:
        state: Object = {"waiting": {"reason": "ContainerCreating"}}
        if behaviour == "pull":
            state = {"waiting": {"reason": "ImagePullBackOff", "message": f"Back-off pulling image {spec['image']!r}"}}
        elif run.started_ms:
            state = {"running": {"startedAt": stamp(run.started_ms)}}
        elif run.restarts:
            state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}}
        last: Object = {}
        if run.last_reason:
            code = 137 if run.last_reason == "OOMKilled" else 1
            last = {"terminated": {"reason": run.last_reason, "exitCode": code}}
        return {
            "name": spec["name"],
            "image": spec["image"],
            "imageID": "",
            "ready": ready,
            "started": bool(run.started_ms),
            "restartCount": run.restarts,
            "state": state,
            "lastState": last,
        }

    def _behaviour(self, pod: Object) -> str:
        images = {container["image"] for container in pod["spec"]["containers"]}
        return next((one.fails for one in self._ground.settings.images if one.image in images), "")

    def _readiness_ms(self, pod: Object) -> int:
        probes = [one.get("readinessProbe") or {} for one in pod["spec"]["containers"]]
        return max(
            self._ground.settings.ready_ms, *(int(probe.get("initialDelaySeconds", 0)) * 1000 for probe in probes)
        )

    def _put(self, pod: Object, status: Object) -> None:
        self._ground.writer.put_status(PODS, (pod["metadata"]["namespace"], pod["metadata"]["name"]), status)

    def _again(self, pod: Object, at_ms: int) -> None:
        self._ground.at(at_ms, (PODS, pod["metadata"]["namespace"], pod["metadata"]["name"]))


def sum_resources(pod: Object, part: str, name: str) -> int | None:
    """Millicores (`cpu`) or bytes (`memory`) over all containers of a pod; None if one of them says nothing."""
    total = 0
    for container in pod["spec"]["containers"]:
        value = ((container.get("resources") or {}).get(part) or {}).get(name)
        if value is None:
            return None
        total += milli(value) if name == "cpu" else whole(value)
    return total


def _condition(kind: str, at_ms: int, *, holds: bool, reason: str = "", message: str = "") -> Object:
    condition: Object = {"type": kind, "status": "True" if holds else "False", "lastTransitionTime": stamp(at_ms)}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition
