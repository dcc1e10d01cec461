"""A product's Python functions, tried in processes of their own, without PyFlink."""
