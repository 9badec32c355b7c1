"""A line to a database that breaks at the worst moment: while a transaction is committed."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

COMMIT = b"COMMIT\0"


class Line:
    """Passes bytes between clients and a server, and breaks once, at the commit that was chosen."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.num_commits = 0
        self.break_at: int | None = None  # counted from 0
        self.arrives = True  # whether the server still gets that commit
        self.server_notices = True  # whether the server is told that the line is gone
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server_port))
                self._open += [client, server]
                threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
                threading.Thread(target=self._pass_back, args=(client, server), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if COMMIT in data:
                    number, self.num_commits = self.num_commits, self.num_commits + 1
                    if number == self.break_at:
                        client.shutdown(socket.SHUT_WR)  # the answer goes nowhere
                        if self.arrives:
                            server.sendall(data)
                        break
                server.sendall(data)
        self.close_pair(client, server)

    def _pass_back(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                client.sendall(data)
        self.close_pair(client, server)

    def close_pair(self, client: socket.socket, server: socket.socket) -> None:
        """End the client's side, and the server's where it is to notice."""
        for end in (client, server) if self.server_notices else (client,):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End everything."""
        for end in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self) -> None:
        """Break every connection that is open now."""
        for client, server in zip(self._open[::2], self._open[1::2], strict=True):
            self.close_pair(client, server)


@contextmanager
def broken_line(port: int) -> Iterator[Line]:
    """A line to the server at `port`, whole until it is told to break."""
    line = Line(port)
    try:
        yield line
    finally:
        line.close()
