"""Blueprint + what is seen + what happened before + the time = what to do next, and why. Pure."""
