"""A VPC in a box: a strict EC2, the stack with its functions, and kernels in network namespaces.

`podway-lab` runs it.
"""
