"""Names of differences and ratios of events and counts, as tables and findings have them."""

DIFFERENCES = {"binary": "risk_difference", "count": "rate_difference"}
# By the arms' levels: of averages over patients, and of one patient
MARGINAL = {"binary": ("risk_ratio", "odds_ratio"), "count": ("rate_ratio",)}
CONDITIONAL = {"odds": "odds_ratio_conditional", "rate": "rate_ratio_conditional"}
# For one point (or SD) of the moderator, of one patient
OF_MODERATOR = {"odds": "moderator_odds_ratio", "rate": "moderator_rate_ratio"}
RATIOS = (
    *(name for names in MARGINAL.values() for name in names),
    *CONDITIONAL.values(),
    *OF_MODERATOR.values(),
)
