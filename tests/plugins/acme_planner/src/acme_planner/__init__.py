"""A distribution that is not roadworthy's own, with a planner, and an observer of cases."""
