"""OpenAI's API for text: completions and models (developers.openai.com/api/reference)."""
