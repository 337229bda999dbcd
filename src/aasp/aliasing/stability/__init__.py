"""How far small changes over time move an encoder's embeddings, and whether it still represents them."""
