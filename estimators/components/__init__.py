"""Parts of single methods that are a subject of their own: gate, predictor, evolution, linear probe."""
