"""What a search costs, and how soon it gets somewhere."""
