"""One script per figure: what p2pchat costs, beside its rivals and beside a bare prototype.

`python -m tests.bench` lists the scripts. Each prints a table and, with --json FILE, the
same as JSON; rounds visit all cases in turn, so that drift of the machine hits all alike,
and what counts is the ratio of medians within one run.
"""
