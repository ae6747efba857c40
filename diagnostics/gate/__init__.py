"""The gate: may these draws be used, and does the model fit?"""
