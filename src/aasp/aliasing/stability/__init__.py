"""How far small changes over time move an encoder's embeddings, and whether the embeddings still represent them."""
