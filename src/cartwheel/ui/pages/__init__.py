"""The pages, one module an entry of the menu. Importing this package fills `PAGES`."""

from importlib import import_module
from pkgutil import iter_modules

from cartwheel.ui.registry import PAGES

__all__ = ["PAGES"]

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)
