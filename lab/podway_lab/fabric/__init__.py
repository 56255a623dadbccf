"""The fabric: a VPC made of network namespaces, with real packets."""
