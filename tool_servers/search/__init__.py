"""The search tool: BM25 over a folder, a JSONL file or a generated corpus."""
