"""Two processes, as `accelerate launch` starts them."""

import os
import socket
import subprocess
import sys


def run_two(script: str) -> list[int]:
    """Run a script in two processes that find each other; return their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "ACCELERATE_USE_CPU": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script], env={**os.environ, **meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        )
        for rank in range(2)
    ]
    try:
        return [process.wait(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
