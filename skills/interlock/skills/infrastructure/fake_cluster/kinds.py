"""The resource types that the server knows, as data: what discovery tells and what paths lead to."""

from __future__ import annotations

from dataclasses import dataclass

_ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_READ = ("get", "list")


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource type. key: `plural` or `plural.group`, as error messages name it."""

    group: str
    version: str
    plural: str
    name: str
    short: tuple[str, ...] = ()
    namespaced: bool = True
    scalable: bool = False
    status: bool = False
    verbs: tuple[str, ...] = _ALL

    @property
    def key(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


KINDS = (
    Kind("", "v1", "namespaces", "Namespace", ("ns",), namespaced=False, status=True),
    Kind("", "v1", "pods", "Pod", ("po",), status=True),
    Kind("", "v1", "events", "Event", ("ev",)),
    Kind("", "v1", "services", "Service", ("svc",), status=True),
    Kind("", "v1", "configmaps", "ConfigMap", ("cm",)),
    Kind("", "v1", "secrets", "Secret"),
    Kind("", "v1", "serviceaccounts", "ServiceAccount", ("sa",)),
    Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", ("pvc",), status=True),
    Kind("apps", "v1", "deployments", "Deployment", ("deploy",), scalable=True, status=True),
    Kind("apps", "v1", "statefulsets", "StatefulSet", ("sts",), scalable=True, status=True),
    Kind("apps", "v1", "replicasets", "ReplicaSet", ("rs",), scalable=True, status=True),
    Kind("apps", "v1", "controllerrevisions", "ControllerRevision"),
    Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", ("netpol",)),
    Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", ("pdb",), status=True),
    Kind("coordination.k8s.io", "v1", "leases", "Lease"),
    Kind("metrics.k8s.io", "v1beta1", "pods", "PodMetrics", verbs=_READ),
    Kind(
        "authorization.k8s.io",
        "v1",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        namespaced=False,
        verbs=("create",),
    ),
)

BY_KEY = {kind.key: kind for kind in KINDS}
BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}

DEPLOYMENTS = BY_KEY["deployments.apps"]
STATEFULSETS = BY_KEY["statefulsets.apps"]
REPLICASETS = BY_KEY["replicasets.apps"]
PODS = BY_KEY["pods"]
EVENTS = BY_KEY["events"]
NAMESPACES = BY_KEY["namespaces"]
POD_METRICS = BY_KEY["pods.metrics.k8s.io"]
ACCESS_REVIEWS = BY_KEY["selfsubjectaccessreviews.authorization.k8s.io"]
