"""Speed, beside the peers."""
