"""The transport that speaks SMTP: a few connections to one server, kept open, each with one message at a time."""

import asyncio
import ssl
from collections.abc import Callable
from functools import cache
from typing import Protocol

from cartwheel.mail.outgoing import Outgoing, Refused, on_the_wire
from cartwheel.mail.replies import Outcome
from cartwheel.mail.smtpurl import Server
from cartwheel.sending.conversations import Conversation


class Transport(Protocol):
    """A way for messages to leave."""

    async def send(self, message: Outgoing, on_final_dot: Callable[[], None] | None = None) -> Outcome:
        """Bring the message on its way, once. `on_final_dot` is called just before it can be taken.

        Never raises for what happens on the way. Who cancels it has to treat the message as in doubt if `on_final_dot`
        was called, and as untouched if not.
        """
        ...

    async def close(self) -> None: ...


class Pool:
    """The connections to one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._room = asyncio.Semaphore(server.connections)
        self._idle: list[Conversation] = []
        self._leaving: set[Conversation] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def send(self, message: Outgoing, on_final_dot: Callable[[], None] | None = None) -> Outcome:
        async with self._room:
            try:
                wire = on_the_wire(message)
            except Refused as refused:
                return refused.outcome
            if conversation := self._take_idle():
                outcome = await conversation.send(message, wire, on_final_dot)
                self._keep(conversation)
                if not conversation.was_stale(outcome):
                    return outcome
            conversation = Conversation(self.server, self._context)
            trouble = await conversation.open()
            if trouble is not None:
                return trouble
            outcome = await conversation.send(message, wire, on_final_dot)
            self._keep(conversation)
            return outcome

    async def close(self) -> None:
        """Messages under way go on to their end."""
        self._closed = True
        if self._sweep:
            self._sweep.cancel()
        for _ in range(self.server.connections):
            await self._room.acquire()
        for _ in range(self.server.connections):
            self._room.release()
        while self._idle:
            self._leave(self._idle.pop())
        for conversation in list(self._leaving):
            await conversation.line.gone.wait()

    @cache  # noqa: B019 - a pool lives as long as the process
    def _context(self) -> ssl.SSLContext:
        """Made when it is first needed: it takes its time to read all authorities."""
        context = ssl.create_default_context()
        if not self.server.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _take_idle(self) -> Conversation | None:
        """The one that was used last, so that those too many fall asleep."""
        while self._idle:
            conversation = self._idle.pop()
            if conversation.usable:
                return conversation
            conversation.abandon()
        return None

    def _keep(self, conversation: Conversation) -> None:
        if not conversation.usable:
            conversation.abandon()
        elif conversation.sent >= self.server.messages or self._closed:
            self._leave(conversation)
        else:
            conversation.left_at = asyncio.get_running_loop().time()
            self._idle.append(conversation)
            self._plan_sweep()

    def _plan_sweep(self) -> None:
        if self._sweep is None and self._idle:
            oldest = self._idle[0].left_at
            self._sweep = asyncio.get_running_loop().call_at(oldest + self.server.idle, self._sweep_idle)

    def _sweep_idle(self) -> None:
        self._sweep = None
        before = asyncio.get_running_loop().time() - self.server.idle
        while self._idle and self._idle[0].left_at <= before:
            self._leave(self._idle.pop(0))
        self._plan_sweep()

    def _leave(self, conversation: Conversation) -> None:
        conversation.line.leave()
        self._leaving = {other for other in self._leaving if not other.line.gone.is_set()} | {conversation}
