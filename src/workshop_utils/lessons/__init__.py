"""Teaching: tiers, checks, the predictions ledger, quizzes, and opening the lab."""
