"""params.yaml and data/run.yaml, a file per reader: a stage depends on the sections that it reads, and on no other.

`whole` is every section that needs no torch, for flows and tasks; `oltr_core.params` has the method's sections too.
Nothing overrides the file, and secrets and endpoints are not in it: tasks read those from the environment.
"""
