"""Run a program for as long as standard input stays open.

The starter holds the other end of that pipe. Whatever ends the starter, kill -9 included, closes
the pipe, and so no broker, and no folder of one, outlives the process that wanted it. Started by
path with nothing imported but the standard library, so that it costs a few milliseconds:

    python guard.py GRACE_SECONDS FOLDER PROGRAM [ARGUMENT ...]
"""

import os
import shutil
import subprocess
import sys
import threading


def main(arguments: list[str]) -> int:
    """Run the program and return its code; at end of input stop it and remove its folder.

    Stopping is asking, and killing once the grace is over; FOLDER may be "". A program that ends by
    itself leaves its folder, so that the starter can read why.
    """
    grace_s, folder = float(arguments[0]), arguments[1]
    asked = threading.Event()
    program = subprocess.Popen(arguments[2:], stdin=subprocess.DEVNULL)

    def stop_at_end_of_input() -> None:
        while os.read(0, 4096):
            pass
        asked.set()
        program.terminate()
        try:
            program.wait(grace_s)
        except subprocess.TimeoutExpired:
            program.kill()

    threading.Thread(target=stop_at_end_of_input, daemon=True).start()
    code = program.wait()
    if asked.is_set():
        shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
