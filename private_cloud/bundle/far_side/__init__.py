"""The verifier, in modules; the far side gets them joined into one file that needs nothing but Python 3.6."""
