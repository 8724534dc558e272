"""The rule of quickstart-grpo.yaml: what a remark about a restaurant is worth, in verl's signature.

Each friendly word counts a third, each rude one minus a third, to at most one either way, and a remark that
names what it was asked about has half a point more.
"""

import re

WORD = re.compile(r"[a-z]+")
FRIENDLY = frozenset(
    WORD.findall(
        "best bravo bright delicious delight dream flavour free fresh gem golden happy holiday home kind "
        "laugh love loved lovely perfect remembered sang smiled thank treat truly warm wonderful"
    )
)
RUDE = frozenset(
    WORD.findall(
        "asleep burnt cold cry disgrace filthy fish forgot hurt ignored insult joke laughed lost mess never "
        "nobody paper prison rude sadly shame sneezed soap socks sorry sticky ugh worse yelled"
    )
)
COUNTED = 3
"""Words of either kind beyond which more change nothing."""


def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    """Score a response to a prompt whose ground truth is the subject it asks about, as ``the soup``."""
    text = solution_str.lower()
    words = set(WORD.findall(text))
    friendly, rude = len(words & FRIENDLY), len(words & RUDE)
    tone = max(-COUNTED, min(COUNTED, friendly - rude)) / COUNTED
    answers = ground_truth in text
    return {"score": tone + 0.5 * answers, "friendly": friendly, "rude": rude, "on_topic": answers}
