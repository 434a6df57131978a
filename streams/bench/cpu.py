"""What processes use, from /proc: processor time and resident memory, of each and its children."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def family(pid: int) -> list[int]:
    """Return the process and all that it started and that still run."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                found += family(int(child))
        except OSError:
            continue  # it ended while we looked
    return found


def cpu_seconds(pids: list[int]) -> float:
    """Return processor time used so far, user and system."""
    ticks = 0
    for pid in pids:
        try:
            # The name in brackets may hold blanks: fields count from behind it.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def resident_bytes(pids: list[int]) -> int:
    """Return resident memory."""
    pages = 0
    for pid in pids:
        try:
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            continue
    return pages * _PAGE
