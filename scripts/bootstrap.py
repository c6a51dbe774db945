"""Makes .venv from the locked, hashed requirements. Runs on any Python 3 so that an old one gets a plain answer.

Usage: python3 scripts/bootstrap.py [run|dev|bench]
`bench`, what `make bench ARGS=--peers` compares with, has an environment of its own: it wants older versions of what we use.
A stamp beside the environment holds the digest of what was installed: a second call does nothing and needs no network.
"""

import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENVS = {"run": ".venv", "dev": ".venv", "bench": os.path.join("build", "peers")}
OLDEST = (3, 11)
NEEDED_MB = 700


def stop(problem, mend):
    sys.stderr.write("interlock: %s. %s\n" % (problem, mend))
    sys.exit(1)


def check_machine(where):
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
    free_mb = shutil.disk_usage(ROOT).free // 2**20
    if free_mb < NEEDED_MB and not is_made(where):
        stop(
            "only %d MB of disk are free here" % free_mb,
            "Free at least %d MB on the disk that holds %s" % (NEEDED_MB, ROOT),
        )
    if not os.access(ROOT, os.W_OK):
        stop("%s is not writable" % ROOT, "Clone into a directory of your own")


def is_made(venv):
    """Whether the environment is there with pip, which comes last: interrupted, or with its Python gone, it is of no use."""
    return all(os.path.exists(os.path.join(ROOT, venv, "bin", name)) for name in ("python", "pip"))


def make_venv(venv):
    place = os.path.join(ROOT, venv)
    shutil.rmtree(place, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "venv", place],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    if done.returncode != 0:
        shutil.rmtree(place, ignore_errors=True)
        stop(
            "making a virtual environment failed (%s)" % told_by(done.stdout),
            "Check the disk; on Debian or Ubuntu: apt-get install python3-venv",
        )


def told_by(output):
    """The line of a program's output that says most of what went wrong."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    wrong = [line for line in lines if "No space left" in line or "Disk quota" in line]
    wrong += [line for line in lines if line.upper().startswith("ERROR")] + lines[-1:]
    return wrong[0] if wrong else "it said nothing"


def pip(venv, *arguments):
    command = [os.path.join(ROOT, venv, "bin", "python"), "-m", "pip", "--disable-pip-version-check", "-q"]
    done = subprocess.run(
        command + list(arguments), cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True
    )
    if done.returncode != 0:
        stop(
            "installing the locked packages failed (%s)" % told_by(done.stderr),
            "Check the network and the disk, then run make again; pip's own words: "
            + " ".join([os.path.join(venv, "bin", "python"), "-m", "pip"] + list(arguments)),
        )


def digest_of(*names):
    digest = hashlib.sha256((sys.version + ROOT).encode())  # what is installed holds the path: a moved clone is set up anew
    for name in names:
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return digest.hexdigest()


def main():
    kind = sys.argv[1] if len(sys.argv) > 1 else "run"
    if kind not in VENVS:
        stop("there is no environment %s" % kind, "Name one of: " + ", ".join(sorted(VENVS)))
    venv = VENVS[kind]
    stamp = os.path.join(ROOT, venv, "stamp-" + kind)
    lock = os.path.join("requirements", kind + ".lock")
    digest = digest_of("pyproject.toml", lock)
    if os.path.exists(stamp):
        with open(stamp) as file:
            if file.read() == digest:
                return
    check_machine(venv)
    print("setting up %s (%s), once" % (venv, kind))
    if not is_made(venv):
        make_venv(venv)
    pip(venv, "install", "--require-hashes", "-r", lock)
    pip(venv, "install", "--no-deps", "--no-build-isolation", "--no-index", "-e", ".")
    with open(stamp, "w") as file:
        file.write(digest)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        stop(str(error), "Check the disk, and who may write to %s" % ROOT)
    except KeyboardInterrupt:
        stop("interrupted", "Run make again: it goes on where it was")
