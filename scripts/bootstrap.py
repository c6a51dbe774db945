"""Makes .venv from the locked, hashed requirements. Runs on any Python 3 so that an old one gets a plain answer.

Usage: python3 scripts/bootstrap.py [run|dev]
A stamp beside the environment holds the digest of what was installed: a second call does nothing and needs no network.
"""

import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, ".venv")
OLDEST = (3, 11)
NEEDED_MB = 700


def stop(problem, mend):
    sys.stderr.write("interlock: %s. %s\n" % (problem, mend))
    sys.exit(1)


def check_machine():
    if sys.version_info < OLDEST:
        stop(
            "Python %d.%d is too old" % sys.version_info[:2],
            "Install Python 3.11 or newer, then: make PYTHON=python3.11 demo",
        )
    if sys.platform == "win32":
        stop("Windows is not supported", "Use Linux, macOS or WSL 2")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        stop("this Python has no venv module", "On Debian or Ubuntu: apt-get install python3-venv")
    needed = int(os.environ.get("INTERLOCK_NEEDED_MB", NEEDED_MB))
    free_mb = shutil.disk_usage(ROOT).free // 2**20
    if free_mb < needed:
        stop(
            "only %d MB of disk are free here" % free_mb,
            "Free at least %d MB on the disk that holds %s" % (needed, ROOT),
        )
    if not os.access(ROOT, os.W_OK):
        stop("%s is not writable" % ROOT, "Clone into a directory of your own")


def pip(*arguments):
    command = [os.path.join(VENV, "bin", "python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    done = subprocess.run(
        command + list(arguments), cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True
    )
    if done.returncode != 0:
        wrong = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()[-1:]
        stop(
            "installing the locked packages failed (%s)" % (wrong[0].strip() if wrong else "pip said nothing"),
            "Check the network and the disk, then run make again; pip's own words: .venv/bin/python -m pip "
            + " ".join(arguments),
        )


def digest_of(*names):
    digest = hashlib.sha256(sys.version.encode())
    for name in names:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def main():
    kind = sys.argv[1] if len(sys.argv) > 1 else "run"
    stamp = os.path.join(VENV, "stamp-" + kind)
    lock = os.path.join("requirements", kind + ".lock")
    digest = digest_of("pyproject.toml", lock)
    if os.path.exists(stamp):
        with open(stamp) as file:
            if file.read() == digest:
                return
    check_machine()
    print("setting up .venv (%s), once" % kind)
    if not os.path.exists(os.path.join(VENV, "bin", "python")):
        done = subprocess.run(
            [sys.executable, "-m", "venv", VENV],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            shutil.rmtree(VENV, ignore_errors=True)
            stop("making a virtual environment failed", "On Debian or Ubuntu: apt-get install python3-venv")
    pip("install", "--require-hashes", "-r", lock)
    pip("install", "--no-deps", "--no-build-isolation", "--no-index", "-e", ".")
    with open(stamp, "w") as file:
        file.write(digest)


if __name__ == "__main__":
    main()
