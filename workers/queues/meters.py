"""What is counted wherever messages are published and text is told: in the API, the control node and the nodes.

Counters live as long as their process, so these modules hold the only state there is at module level.
"""

from typing import Final

from prometheus_client import Counter

PUBLISHED: Final = Counter("skim_messages_published", "Doorbells given to the broker", ["lane"])
PUBLISH_FAILURES: Final = Counter("skim_publish_failures", "Times that a queue could not be topped up", ["lane"])
RINGS_DROPPED: Final = Counter("skim_rings_dropped", "Rings not taken because too many queues wait to be rung")
PIECES_DROPPED: Final = Counter("skim_text_pieces_dropped", "Pieces of streamed text that never reached the broker")
