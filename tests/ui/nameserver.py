"""A name server on this machine, with the TXT records that a test gives it."""

import socket
import threading
from typing import Self

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset

from cartwheel.ui.dnscheck import Dns


class NameServer:
    """Answers while it is open. `records` are the texts of each name; with `silent` set it answers nothing."""

    def __init__(self) -> None:
        self.records: dict[str, list[str]] = {}
        self.silent = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    @property
    def dns(self) -> Dns:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]
        resolver.port = self._socket.getsockname()[1]
        return Dns(resolver)

    def _run(self) -> None:
        while True:
            data, whom = self._socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            answer = dns.message.make_response(query)
            answer.flags |= dns.flags.RA
            name = query.question[0].name
            texts = self.records.get(name.to_text(omit_final_dot=True), [])
            if self.silent:
                answer.set_rcode(dns.rcode.SERVFAIL)
            elif not texts:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            else:
                pieces = (" ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200)) for text in texts)
                answer.answer.append(dns.rrset.from_text_list(name, 60, "IN", "TXT", list(pieces)))
            self._socket.sendto(answer.to_wire(), whom)
