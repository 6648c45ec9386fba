"""The run record, its charts, its page and its summary."""
