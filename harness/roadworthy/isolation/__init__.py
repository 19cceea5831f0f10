"""A planner in a process of its own, which can see and touch as little as the kernel allows.

    host      a `PlannerHost` whose planner sits in such a process
    process   starts one, speaks with it, ends it
    wire      what is said: flat arrays and msgpack, never pickles
    sandbox   confines itself, then becomes the planner's process (standard library alone)
    serve     what runs inside

Trusted are: this package, the Python installation, and installed distributions' entry points.
Not trusted: the planner's own code and every byte that its process sends.
"""
