"""The life of a goal as pure functions: plan, references, gates, and the fold that decides what happens next."""
