"""How fast the product is, and where the time goes."""
