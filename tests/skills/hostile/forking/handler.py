import os
import socket
import subprocess
import sys
import time


def run(task):
    return globals()["try_" + task.input["what"]]() or {}


def try_execute():
    done = subprocess.run([sys.executable, "-I", "-S", "-c", "print(6 * 7)"], capture_output=True, text=True)
    return {"got": done.stdout.strip()}


def try_fork_bomb():
    while True:
        try:
            os.fork()
        except OSError:
            time.sleep(0.001)


def try_daemon():
    """Its child and grandchild go on, hold its pipes, and want to be in a session of their own."""
    if os.fork() == 0:
        if os.fork() == 0:
            try:
                os.setsid()
            except PermissionError:
                pass
            time.sleep(1000)
        time.sleep(1000)


def try_sleeping_family():
    if os.fork() == 0:
        os.fork()
    time.sleep(1000)


def try_many_in_a_row():
    for _ in range(20):
        os.waitpid(os.fork() or os._exit(0), 0)
    return {"got": 20}


def try_orphans_in_a_row():
    for _ in range(20):
        child = os.fork()
        if child == 0:
            if os.fork() == 0:
                time.sleep(0.05)
            os._exit(0)
        os.waitpid(child, 0)
        time.sleep(0.06)
    return {"got": 20}


def try_burn_together():
    os.fork()
    os.fork()
    while True:
        pass


def try_eat_together():
    os.fork()
    held = bytearray(200 << 20)  # each is within the limit, both together are not
    held[::4096] = b"a" * (len(held) // 4096)
    time.sleep(1000)
    return {"got": len(held)}


def try_connect():
    socket.create_connection(("127.0.0.1", 80))
