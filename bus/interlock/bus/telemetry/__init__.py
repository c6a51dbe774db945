"""What can be seen of a running Interlock: spans, metrics, logs, discovery. Nothing here decides anything."""
