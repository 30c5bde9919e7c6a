"""The nouns that every study shares: models and adapters, prompts, residuals, vectors, interventions, stores."""
