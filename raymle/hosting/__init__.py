"""Models in service: what is served and how, here for as long as a command runs, or on a cluster that stays."""

from raymle.hosting.asked import CHALLENGER, CHAMPION, Asked, place, service_of
from raymle.hosting.cluster import deployed, rendered, stopped, watched
from raymle.hosting.here import FOLLOWS, changes, hosted, planned

__all__ = [
    "CHALLENGER", "CHAMPION", "FOLLOWS", "Asked", "changes", "deployed", "hosted", "place", "planned", "rendered",
    "service_of", "stopped", "watched",
]  # fmt: skip
