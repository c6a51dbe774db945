"""System calls by number, and which of them a run may not make. Data for the filter; numbers are of the kernel's tables."""

from __future__ import annotations

from msgspec import Struct

# name: (x86_64, aarch64); -1: does not exist there
NUMBERS: dict[str, tuple[int, int]] = {
    "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280), "chroot": (161, 51),
    "clock_adjtime": (305, 266), "clock_settime": (227, 112), "clone": (56, 220), "clone3": (435, 435),
    "delete_module": (176, 106), "execve": (59, 221), "execveat": (322, 281), "fanotify_init": (300, 262),
    "fcntl": (72, 25), "finit_module": (313, 273), "fork": (57, -1), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fsopen": (430, 430), "fspick": (433, 433), "init_module": (175, 105), "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427), "io_uring_setup": (425, 425), "ioctl": (16, 29), "ioperm": (173, -1),
    "iopl": (172, -1), "ioprio_set": (251, 30), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "kill": (62, 129), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "migrate_pages": (256, 238), "mknod": (133, -1), "mknodat": (259, 33),
    "modify_ldt": (154, -1), "mount": (165, 40), "mount_setattr": (442, 442), "move_mount": (429, 429),
    "move_pages": (279, 239), "mq_open": (240, 180), "msgget": (68, 186), "name_to_handle_at": (303, 264),
    "open": (2, -1), "open_by_handle_at": (304, 265), "open_tree": (428, 428), "openat": (257, 56),
    "openat2": (437, 437), "perf_event_open": (298, 241), "personality": (135, 92), "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "pivot_root": (155, 41), "prctl": (157, 167),
    "prlimit64": (302, 261), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "reboot": (169, 142), "request_key": (249, 218), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "sched_setaffinity": (203, 122), "sched_setattr": (314, 274),
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "semget": (64, 190), "sendmmsg": (307, 269),
    "sendmsg": (46, 211), "setdomainname": (171, 162), "sethostname": (170, 161), "setns": (308, 268),
    "setpgid": (109, 154), "setpriority": (141, 140), "setsid": (112, 157), "settimeofday": (164, 170),
    "shmget": (29, 194), "socket": (41, 198), "swapoff": (168, 225), "swapon": (167, 224), "syslog": (103, 116),
    "tgkill": (234, 131), "tkill": (200, 130), "truncate": (76, 45), "umount2": (166, 39), "unshare": (272, 97),
    "userfaultfd": (323, 282), "vfork": (58, -1),
}  # fmt: skip

FORKING = ("fork", "vfork", "execve", "execveat")
# A descriptor that is on its way through a socket pair is held by nobody who could be looked at: an unlinked file in
# it would escape the measure of the disk.
MESSAGES = ("sendmsg", "sendmmsg")
# Not for runs at all: to leave the process group, to touch other processes, to hold memory or objects that the limits
# do not see (memfd, System V and POSIX IPC), to change the machine.
DENIED = (
    "setsid", "setpgid", "unshare", "setns", "chroot", "pivot_root", "personality",
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp", "kill", "tkill",
    "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "setpriority",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "ioprio_set", "migrate_pages",
    "move_pages",
    "memfd_create", "memfd_secret", "shmget", "semget", "msgget", "mq_open",
    "mount", "umount2", "mount_setattr", "move_mount", "open_tree", "fsopen", "fsconfig", "fsmount", "fspick",
    "mknod", "mknodat", "name_to_handle_at", "open_by_handle_at", "quotactl", "quotactl_fd", "fanotify_init",
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register",
    "add_key", "request_key", "keyctl", "kexec_load", "kexec_file_load", "init_module", "finit_module",
    "delete_module", "reboot", "swapon", "swapoff", "acct", "syslog", "settimeofday", "clock_settime",
    "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "ioperm", "iopl", "modify_ldt",
)  # fmt: skip


class Rule(Struct, frozen=True):
    """A call that is judged by one argument (counted from 0): allowed `only` with these values, or `never` with those."""

    call: str
    argument: int
    only: tuple[int, ...] = ()
    never: tuple[int, ...] = ()


_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36
_F_SETOWN, _F_SETOWN_EX = 8, 15
_FIOSETOWN, _SIOCSPGRP = 0x8901, 0x8902
_AF_INET, _AF_INET6 = 2, 10

ARGUMENT_RULES = (
    # The kernel must go on killing the run with its host, and the host must see what the run holds open.
    Rule("prctl", 0, never=(_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER)),
    Rule("prlimit64", 0, only=(0,)),
    # Signals by way of a descriptor's owner.
    Rule("fcntl", 1, never=(_F_SETOWN, _F_SETOWN_EX)),
    Rule("ioctl", 1, never=(_FIOSETOWN, _SIOCSPGRP)),
)
# With network granted: the internet, but no local service's socket (Landlock does not see those) and no kernel's.
NETWORK_SOCKETS = Rule("socket", 0, only=(_AF_INET, _AF_INET6))
