"""What a report works out from the decisions themselves: bands, causes of failure, regret, reliability, disputes."""
