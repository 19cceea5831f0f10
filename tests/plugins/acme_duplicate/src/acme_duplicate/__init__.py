"""A distribution that claims names that others have."""
