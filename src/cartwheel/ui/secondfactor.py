"""Codes of authenticator programs (TOTP), and the picture that such a program reads."""

from datetime import datetime

import pyotp
import segno

_STEP_S = 30

_DIGITS = 6


def new_secret() -> str:
    return pyotp.random_base32()


def address(secret: str, email: str) -> str:
    """What the QR code says."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name="Cartwheel")


def picture(secret: str, email: str) -> str:
    """The QR code as a `data:` URI."""
    return segno.make(address(secret, email), error="m").svg_data_uri(scale=5, border=4, light="#fff")


def step_of(secret: str, code: str, now: datetime) -> int | None:
    """The time step that a code belongs to: this one, the one before or the one after. None for a wrong code."""
    digits = "".join(code.split())
    if not secret or len(digits) != _DIGITS or not (digits.isascii() and digits.isdigit()):
        return None
    here = int(now.timestamp()) // _STEP_S
    codes = pyotp.TOTP(secret)
    return next(
        (step for step in (here, here - 1, here + 1) if pyotp.utils.strings_equal(digits, codes.generate_otp(step))),
        None,
    )
