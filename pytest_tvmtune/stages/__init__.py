"""The stages of one case, in order: plan, tune, build, load and run, compare, time.

Every stage asks the store first; what can crash or hang runs in a child process.

- `case`: what the stages work on.
- `tuning`: tasks, records, the tuner's child.
- `building`: artifact, session, reference outputs.
- `latency`: the gate.
"""
