"""Pydantic schemas: what may come in (strict, nothing unknown) and what goes out."""
