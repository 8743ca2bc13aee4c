"""The stages of a case; `pipeline` calls them in order.

Every stage asks the store first; what can crash or hang runs in a child process.
"""
