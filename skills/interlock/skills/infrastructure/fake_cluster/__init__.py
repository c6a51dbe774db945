"""A Kubernetes API server of the project's own, with a small simulated world behind it. A process of its own:
`python -m interlock.skills.infrastructure.fake_cluster`; started by `launching.FakeCluster`.
"""
