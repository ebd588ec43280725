"""What sends all that is in the outbox while a server runs."""

import threading
import time
from collections.abc import Callable
from typing import Any

from contactapi import Unavailable, log_failure
from extras.senders import DeliveryRow


class Worker(threading.Thread):
    """Looks for what is due. Each endpoint's is sent by a thread of its own, which ends
    when no more is: a slow endpoint holds up no other."""

    MOST = 16  # threads
    TURNS = 100  # deliveries of an endpoint until another has its turn

    def __init__(self, outbox: Any):
        super().__init__(name="outbox", daemon=True)
        self.outbox, self.stopped = outbox, False
        self.places = threading.Semaphore(self.MOST)

    def run(self) -> None:
        if not self.outbox.senders:
            return
        self.safely(self.outbox.begin)
        while not self.stopped:
            self.outbox.wake.wait(1)  # something may have become due, or another's
            self.outbox.wake.clear()
            self.safely(self.look)

    def safely(self, work: Callable) -> None:
        try:
            work()
        except Unavailable:
            time.sleep(1)  # the log has it; what waits keeps
        except Exception as err:
            log_failure("outbox", err)

    def look(self) -> None:
        while not self.stopped and self.places.acquire(timeout=1):
            claimed = None
            try:
                claimed = self.outbox.claim()
            finally:
                if claimed is None:
                    self.places.release()
            if claimed is None:
                return
            threading.Thread(target=self.send, args=(claimed,), daemon=True).start()

    def send(self, claimed: DeliveryRow) -> None:
        """It and what else is due in its endpoint."""
        turns = iter(range(1, self.TURNS))

        def more() -> bool:
            return not self.stopped and next(turns, None) is not None

        def work() -> None:
            delivery = claimed
            while delivery:
                delivery = self.outbox.send(delivery, more)

        self.safely(work)
        if not self.outbox.store.closed:
            self.outbox.store.reading.close()  # this thread's own connection
        self.places.release()
        self.outbox.wake.set()

    def stop(self) -> None:
        """What is being sent may end: better known than not."""
        self.stopped = True
        self.outbox.wake.set()
        deadline = time.monotonic() + 3
        self.join(timeout=3)
        for _ in range(self.MOST):
            self.places.acquire(timeout=max(0, deadline - time.monotonic()))
