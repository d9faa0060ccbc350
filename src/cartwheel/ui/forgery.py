"""That a form was sent by our own page: each carries a token that only the browser's own cookie makes good."""

import hashlib
import hmac
import secrets

FIELD = "csrf"
HEADER = "x-csrf-token"

_NONCE = 16


def token(cookie: str) -> str:
    """A new one each time, so that packing a page together with it tells nobody anything (BREACH)."""
    nonce = secrets.token_hex(_NONCE)
    return nonce + _mark(cookie, nonce)


def is_good(cookie: str, sent: str) -> bool:
    nonce, mark = sent[: 2 * _NONCE], sent[2 * _NONCE :]
    return bool(cookie) and hmac.compare_digest(_mark(cookie, nonce).encode(), mark.encode())


def _mark(cookie: str, nonce: str) -> str:
    return hmac.new(cookie.encode(), nonce.encode(), hashlib.sha256).hexdigest()


def from_elsewhere(fetch_site: str, origin: str, host: str) -> bool:
    """Whether the browser itself says that another site sent this."""
    if fetch_site:
        return fetch_site not in {"same-origin", "none"}
    return origin not in {"", "null"} and origin.partition("://")[2] != host
