"""Is one planner better than another? Cases are paired, differences judged, regressions stopped.

`casetable` holds scores as arrays, `pairing` finds the cases that two planners share, `compare`
judges the differences, `leaderboard` ranks many planners, `gate` stops what got worse.
"""
