"""The pods' side: the CNI configuration, and how full the node's blocks are."""
