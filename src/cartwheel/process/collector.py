"""The garbage collector of a process that serves."""

import gc


def calm() -> None:
    """To be called when all is loaded, which stays: it is never looked at again, and the rest less often.

    Else the collector walks through everything for some 60 ms, several times a second under load: that was what made the
    slowest calls slow, and a sixth of the processor's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
