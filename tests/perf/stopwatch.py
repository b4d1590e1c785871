"""Runs the program named by its arguments, and prints what it took: exit code, seconds, KiB of memory at most; JSON.

Run as a script: `stopwatch.py PROGRAM [ARGUMENT…]`. A small process of its own, because Linux counts as the memory of
a program what its process had before it became that program, which is what the process had that started it
(`exec_mmap` in fs/exec.c). It takes 10 MiB, and so shows no peak below that.
"""

import json
import os
import sys
import time


def main() -> None:
    program = sys.argv[1:]
    unseen = [(os.POSIX_SPAWN_OPEN, sys.stdout.fileno(), os.devnull, os.O_WRONLY, 0)]
    began = time.perf_counter()
    child = os.posix_spawn(program[0], program, os.environ, file_actions=unseen)
    _, status, used = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    print(json.dumps([os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss]))


if __name__ == "__main__":
    main()
