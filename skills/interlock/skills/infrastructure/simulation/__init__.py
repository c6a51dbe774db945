"""What a blueprint would have done: a service that is computed, decided about at every step, and a drawing of it."""
