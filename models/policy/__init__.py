"""Stage 7: what each institution says to a request: policies as tables, verdicts, ranked offers,
reasons.
"""
