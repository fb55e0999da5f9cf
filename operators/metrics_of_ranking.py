"""The metrics of ranking, after `operators.metrics`: name, what it shows, labels beyond flow and partition.

Names that end in `_total` are counters, given as the stages' totals; all others are gauges. Groups and steps are named
in the settings, never by input.
"""

from typing import Final

OF_RANKING: Final[tuple[tuple[str, ...], ...]] = (
    # Count: items and who does what with them.
    ("tidegate_items", "Items with sums, or with what they add up to."),
    ("tidegate_items_evicted_total", "Items that had to go for others."),
    ("tidegate_audience_pairs", "Pairs of item and user that are told apart."),
    ("tidegate_audience_pairs_evicted_total", "Pairs that had to go: who comes again counts as another user."),
    ("tidegate_interactions_refused_total", "Interactions that do not count.", "reason"),
    ("tidegate_weighted_users", "Users whose risk tier is remembered."),
    ("tidegate_weighted_users_evicted_total", "Users whose tier had to go: they count as unknown again."),
    # Merge: signals of items.
    ("tidegate_signals_written_total", "Signals of items written."),
    ("tidegate_signals_waiting", "Items with news that were not looked at yet."),
    ("tidegate_signals_forgotten_total", "Items that had to go: taken from the topics, or left there.", "reason"),
    # Recall: the catalogue.
    ("tidegate_catalogue_items", "Items that may be in a list."),
    ("tidegate_catalogue_items_evicted_total", "Items that had to go for others: none of them is in a list any more."),
    ("tidegate_catalogue_time_seconds", "Event time of the newest signals of any item."),
    # Recall: users, requests, candidates.
    ("tidegate_ranking_users", "Users, and sessions without one, that are remembered."),
    ("tidegate_ranking_users_evicted_total", "Users that had to go for others."),
    ("tidegate_covisited_items", "Items of which it is remembered with which others they are visited."),
    ("tidegate_covisited_items_evicted_total", "Of these, items that had to go for others."),
    ("tidegate_ranking_requests_flagged_total", "Requests that are late, repeated or ahead of time.", "flag"),
    ("tidegate_candidates_total", "Candidates by where they came from; one may have several sources.", "source"),
    # Rank.
    ("tidegate_ranker_ready", "1 while a ranker ranks, 0 while the fallback does."),
    ("tidegate_ranker_info", "1 for the ranker in force, 0 for those before it.", "version"),
    ("tidegate_ranker_age_seconds", "Stream time minus the newest list that the ranker was trained on."),
    ("tidegate_ranker_refused_total", "Rankers that could not be used.", "reason"),
    # Rerank, answer.
    ("tidegate_uplift_effects", "Variations of the experiment in use whose effect is known."),
    ("tidegate_uplift_forgotten_total", "Variations whose effect had to go for others."),
    ("tidegate_lists_answered_total", "Lists answered."),
    ("tidegate_lists_by_fallback_total", "Of these, lists that the fallback ranked."),
    ("tidegate_lists_served_total", "Of these, lists of which it was told what the ranker saw."),
    ("tidegate_lists_cut_total", "Parts of lists left out, or whole lists refused, as too large for a record.", "part"),
    # Judge: of the newest stretch of time that is over.
    ("tidegate_ranking_quality_time_seconds", "Event time at which that stretch ended."),
    ("tidegate_ranking_ndcg", "Mean NDCG of lists with anything relevant."),
    ("tidegate_ranking_ndcg_popularity", "That of the same lists, ordered by popularity."),
    ("tidegate_ranking_mrr", "Mean reciprocal rank of lists with anything relevant."),
    ("tidegate_ranking_recall", "Share of users' next interactions that were among the candidates."),
    ("tidegate_ranking_ece", "Expected calibration error of the probabilities of a click."),
    ("tidegate_ranking_brier", "Brier score of the probabilities of a click."),
    ("tidegate_ranking_exposure", "Mean exposure of a group's candidates.", "group"),
    ("tidegate_ranking_exposure_per_merit", "Exposure over merit of a group's candidates, over that of all.", "group"),
    (
        "tidegate_ranking_ndcg_by_users",
        "Mean NDCG of lists of a group of users, of those with anything relevant.",
        "group",
    ),
    ("tidegate_ranking_minimum_failures_ratio", "Share of tested lists with too few of a group.", "group"),
    ("tidegate_ranking_step_cost", "NDCG of the ranker's own scores that a step took.", "step"),
    # As of now.
    ("tidegate_ranking_fairness_log_e", "Logarithm of the e-value of fair exposure.", "group"),
    ("tidegate_ranking_fairness_alarm", "1 once the alarm on a group's exposure went off.", "group"),
    ("tidegate_judged_lists_total", "Lists to be judged, counted when they are answered."),
    ("tidegate_judged_lists_evicted_total", "Of these, lists that had to go before their time was over."),
    ("tidegate_judged_lists_pending", "Of these, lists whose time is not over."),
)
