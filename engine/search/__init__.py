"""Which sub-layers may be skipped while drafting: scored without decoding, searched for, and confirmed by timing.

Sits above decoding, which never imports it. Knows no database: trials go to a ``Notebook`` that is passed in.
"""
