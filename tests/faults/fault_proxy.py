"""A TCP proxy on loopback that can misbehave: drop, delay, stall, or lose the answer after it was earned."""

import select
import socket
import threading
import time
from typing import Literal

Mode = Literal["pass", "drop", "slow", "stall", "lose", "busy"]
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultProxy:
    """A connection carries one request, and each meets the mode of its moment; ``every`` spares all but each n-th.

    drop closes at once; slow waits ``seconds``; stall accepts and never answers; lose hands the request on and drops
    the answer; busy answers 503.
    """

    def __init__(self, upstream: int) -> None:
        self.mode: Mode = "pass"
        self.seconds, self.every, self.count, self.hits = 0.0, 1, 0, 0
        self._upstream = upstream
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, mode: Mode, *, seconds: float = 0.0, every: int = 1) -> None:
        self.mode, self.seconds, self.every = mode, seconds, every

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                inward, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(inward,), daemon=True).start()

    def _serve(self, inward: socket.socket) -> None:
        with inward, socket.socket() as outward:
            try:
                inward.recv(1, socket.MSG_PEEK)
                mode = self._turn()
                if mode == "drop":
                    return
                if mode == "busy":
                    inward.recv(65536)
                    inward.sendall(BUSY)
                    return
                if mode == "stall":
                    time.sleep(60)
                    return
                if mode == "slow":
                    time.sleep(self.seconds)
                outward.connect(("127.0.0.1", self._upstream))
                self._pump(inward, outward, lose=mode == "lose")
            except OSError:
                return

    def _turn(self) -> Mode:
        self.count += 1
        if self.mode == "pass" or self.count % self.every:
            return "pass"
        self.hits += 1
        return self.mode

    def _pump(self, inward: socket.socket, outward: socket.socket, *, lose: bool) -> None:
        mode = self.mode
        while self.mode == mode:  # a kept connection ends when the weather changes
            ready, _, _ = select.select([inward, outward], [], [], 0.2)
            for source in ready:
                data = source.recv(65536)
                if not data or (lose and source is outward):
                    return
                if source is inward:
                    outward.sendall(data.replace(b"Connection: keep-alive", b"Connection: close"))
                else:
                    inward.sendall(data)
