SELECT id, card, `at`, amount, merchant.name AS merchant, merchant.country AS country FROM authorisations
