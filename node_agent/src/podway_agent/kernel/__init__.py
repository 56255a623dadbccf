"""What programs the kernel, and nothing else: routes, sysctls, the nftables table. Dataplane uses it."""
