"""Planners: a playbook, the goal's own tasks, skills matched by description, or a model's draft (ROL-09)."""
