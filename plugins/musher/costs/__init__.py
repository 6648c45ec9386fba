"""What things cost: prices, a projection before a run, a breakdown after it, and what is running now."""
