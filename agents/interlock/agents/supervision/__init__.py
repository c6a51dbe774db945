"""Roles as child processes: started, watched, restarted, ended (ROL-10)."""
