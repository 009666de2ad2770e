"""The way out of one stream: a queue that gRPC drains in a thread of its own."""

import queue


class Outbound:
    """Bytes to send, then an end: plain, or a status to abort with."""

    def __init__(self):
        self._queue = queue.Queue()

    def put(self, data):
        self._queue.put(data)

    def end(self):
        self._queue.put(None)

    def fail(self, code, details):
        self._queue.put((code, details))

    def requests(self):
        """For a client stream: until ended."""
        while (item := self._queue.get()) is not None:
            yield item

    def responses(self, context):
        """For a server's answer: until ended or failed."""
        while (item := self._queue.get()) is not None:
            if isinstance(item, tuple):
                context.abort(*item)
            yield item
