"""A cost for the tests of constrained training, in verl's signature: the share of rude words."""

RUDE = frozenset(
    [
        "asleep",
        "burnt",
        "cold",
        "cry",
        "disgrace",
        "filthy",
        "fish",
        "forgot",
        "hurt",
        "ignored",
        "insult",
        "joke",
        "laughed",
        "lost",
        "mess",
        "never",
        "nobody",
        "paper",
        "prison",
        "rude",
        "sadly",
        "shame",
        "sneezed",
        "soap",
        "socks",
        "sorry",
        "sticky",
        "ugh",
        "worse",
        "yelled",
    ]
)


def compute_cost(data_source, solution_str, ground_truth, extra_info=None):
    """One for each rude word, up to three."""
    words = set(solution_str.lower().replace(".", " ").replace("!", " ").replace(",", " ").split())
    return float(min(3, len(words & RUDE)))
