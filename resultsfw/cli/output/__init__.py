"""What is printed: tables, texts, YAML, JSON and advice, in a terminal or not."""
