"""The first page: how the account does."""

from cartwheel.ui.registry import page
from cartwheel.ui.visits import Answer, Visit


@page("/", menu="dashboard")
def show_dashboard(visit: Visit) -> Answer:
    return visit.show("dashboard.html")
