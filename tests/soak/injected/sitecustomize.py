"""Loaded at the start of every Python process of a soak: counts its changes of files in the workspace, fails one.

OLTR_FAULT is JSON: root (the workspace), and log (a file for one line per change) or: who (the process, by its
command), at (the number of its change, from 1), path (a pattern: changes of other files in the workspace are
not counted), what (alone or group: SIGKILL; full: no space from there on), fired (a file that says that it has
happened: it happens once).
"""

import errno
import json
import os
import re
import signal
import sys

CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def command() -> str:
    """`loop`, `train`, ...: what this process was started as; "" for what the soak is not about."""
    with open("/proc/self/cmdline", "rb") as file:
        words = file.read().decode(errors="replace").split("\0")
    if "tasks.prefect.server" in words:
        return "server"
    places = [i for i, word in enumerate(words) if word.endswith("/oltr") or word == "flows.cli"]
    return words[places[0] + 1] if places and len(words) > places[0] + 1 else ""


def install(fault: dict) -> None:
    who, root = command(), os.path.realpath(fault["root"])
    if not who or ("who" in fault and fault["who"] != who):
        return
    log = os.open(fault["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if "log" in fault else None
    count = 0
    pid = os.getpid()  # a fork has the hook, and is another process

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if os.getpid() != pid:
            return
        if event == "open":
            path, _, flags = arguments
            changes = isinstance(path, (str, bytes)) and bool(flags & WRITES)
        else:
            changes, path = event in CHANGES, arguments[0] if arguments else ""
        if not changes or not isinstance(path, (str, bytes)):
            return
        path = os.path.abspath(os.fsdecode(path))  # noqa: PTH100
        if not path.startswith(root) or path == fault.get("fired"):
            return
        if not re.search(fault.get("path", ""), path[len(root) + 1 :]):
            return
        count += 1
        if log is not None:
            os.write(log, f"{who}\t{count}\t{event}\t{path[len(root) + 1 :]}\n".encode())
        elif fault["what"] == "full":
            if count >= fault["at"] and event in ("open", "os.mkdir"):
                os.close(os.open(fault["fired"], os.O_WRONLY | os.O_CREAT))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        elif count == fault["at"] and not os.path.exists(fault["fired"]):  # noqa: PTH110
            os.close(os.open(fault["fired"], os.O_WRONLY | os.O_CREAT))
            if fault["what"] == "group":
                os.killpg(os.getpgid(0), signal.SIGKILL)
            os.kill(pid, signal.SIGKILL)

    sys.addaudithook(hook)


if "OLTR_FAULT" in os.environ:
    install(json.loads(os.environ["OLTR_FAULT"]))
