import ctypes
import os
import socket
import sys
import time
from pathlib import Path


def run(task):
    return globals()["try_" + task.input["what"]](task) or {}


def try_nothing(task):
    pass


def try_loop(task):
    while True:
        pass


def try_sleep(task):
    time.sleep(100)


def try_fork(task):
    os.fork()


def try_exec(task):
    os.execv("/bin/ls", ["ls"])


def try_setsid(task):
    os.setsid()


def try_raw_setsid(task):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(112 if os.uname().machine == "x86_64" else 157) < 0:
        raise PermissionError(ctypes.get_errno(), "setsid")


def try_one_big_file(task):
    with open("big", "wb") as file:
        for _ in range(50):
            file.write(b"a" * (1 << 20))


def try_many_files(task):
    for number in range(1000):
        Path(f"f{number}").write_bytes(b"a" * (1 << 16))
        time.sleep(0.001)


def try_write_outside(task):
    Path("/tmp/interlock-escaped").write_text("x")


def try_write_by_link(task):
    os.symlink("/tmp", "link")
    Path("link/interlock-escaped").write_text("x")


def try_write_input(task):
    Path(task.input["path"], "new").write_text("x")


def try_unlink_input(task):
    os.unlink(Path(task.input["path"], "kept.txt"))


def try_read_secret(task):
    return {"got": Path("/etc/passwd").read_text()}


def try_read_parent(task):
    return {"got": Path(f"/proc/{os.getppid()}/environ").read_text()}


def try_environment(task):
    return {"got": dict(os.environ)}


def try_connect(task):
    socket.create_connection(("127.0.0.1", 80))


def try_bind(task):
    socket.socket().bind(("127.0.0.1", 0))


def try_kill_parent(task):
    os.kill(os.getppid(), 9)


def try_kill_itself(task):
    ctypes.CDLL(None).raise_ = None
    ctypes.string_at(0)


def try_memory(task):
    return {"got": len(b"a" * (500 << 20))}


def try_recursion(task):
    return try_recursion(task)


def try_print(task):
    while True:
        sys.stdout.write("x" * 100_000)


def try_print_garbage(task):
    os.write(1, b"\xff\xfe\x00 not text")


def try_huge_result(task):
    return {"got": "x" * (2 << 20)}


def try_float(task):
    return {"got": {"deep": [1.5]}}


def try_exit(task):
    os._exit(0)


def try_sys_exit(task):
    sys.exit(3)


def try_raise(task):
    raise ValueError("broken\nin two lines")


def try_result_of_another_type(task):
    return [1]


def try_odd_file_name(task):
    (task.out / "a b").write_text("x")


def try_linked_file(task):
    os.symlink("/etc/passwd", task.out / "passwd")
