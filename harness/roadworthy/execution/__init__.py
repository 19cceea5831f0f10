"""Who does the work of a run: one process, worker processes, or a Ray cluster.

`workforce` chooses, `executors` and `ray_executor` hand out batches of cases, `worker` is a process
that takes them, `bench` is where a batch is worked on, `evaluate` drives and judges it.
"""
