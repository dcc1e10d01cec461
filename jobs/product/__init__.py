"""What a product's folder says: its settings, SQL, schemas and contract, and the types and names in it."""
