"""Many models of one shape trained as one: parameters with a leading axis of members.

A step of a small model is mostly overhead, which a stack of them pays once. Each member keeps its
own seed, data order, dropout masks, optimizer settings and schedule, and comes to the result that
it comes to alone. What cannot be stacked is refused with the reason (`NotStackable`), and is
trained by itself.
"""
