"""``rftt serve``: an OpenAI-compatible server whose answers are what a search has voted for."""
