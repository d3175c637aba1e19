"""A foreign client for cards: takes messages as JSON, one a line, sends each with pyiso8583, prints the answers as JSON.

Usage: cards_client.py PACKAGES PORT. `null` is printed where the connection ended instead of an answer.
"""

import json
import socket
import struct
import sys

sys.path.insert(0, sys.argv[1])
import iso8583  # noqa: E402
from iso8583.specs import default_ascii as spec  # noqa: E402


def exactly(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


connection = socket.create_connection(("127.0.0.1", int(sys.argv[2])), timeout=30)
for line in sys.stdin:
    message, _ = iso8583.encode(json.loads(line), spec)
    try:
        connection.sendall(struct.pack(">H", len(message)) + bytes(message))
        (length,) = struct.unpack(">H", exactly(connection, 2))
        answer, _ = iso8583.decode(exactly(connection, length), spec)
    except (EOFError, ConnectionError):
        answer = None
    print(json.dumps(answer), flush=True)
