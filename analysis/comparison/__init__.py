"""Two sets of trials against each other: a contrast per series, and what all of them together allow to say."""
