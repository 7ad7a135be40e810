"""The laboratory: training of any network on any data, with measurements that are switched on while it trains."""
