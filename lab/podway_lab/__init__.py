"""A VPC in a box: strict EC2, event delivery, and kernels in network namespaces."""
