"""Where mails go: to mail servers, or into the test mailbox."""

from collections.abc import Iterator

from cartwheel.mail.composing import read_sender
from cartwheel.sending.sendlimits import limits_of
from cartwheel.sending.servers import Post, Servers


class Posts:
    """Where mails go: the mail servers, and the test mailbox for leads of test-mode Apps, or for all."""

    def __init__(self, servers: Servers | None, mailbox: Post) -> None:
        self._servers = servers
        self.mailbox = mailbox

    def for_mail(self, sender: str, *, test: bool) -> Post:
        """Where a mail from `sender` goes; `test` for a lead of a test-mode App. Raises `Unsendable`."""
        if test or self._servers is None:
            return self.mailbox
        return self._servers.for_sender(read_sender(sender)[1] if sender else "")

    @property
    def have_limits(self) -> bool:
        return self._servers is not None and any(limits_of(post.server, "") for post in self._servers)

    def __iter__(self) -> Iterator[Post]:
        yield self.mailbox
        yield from self._servers or ()

    def stop(self) -> None:
        """Begin nothing more: only mails that are on the wire go on."""
        for post in self:
            post.stop()

    async def close(self) -> None:
        if self._servers is not None:
            await self._servers.close()
