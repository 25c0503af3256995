"""`detfm partition`: a network that no chip can hold, as a pipeline over many chips and the links between them.

`network` what has to be computed; `costs`, `encoder` and `graphs` describe an encoder or a fixed-point graph so.
`plan` which chip computes what, `pipeline` the same as stations that pass beats on, `simulate` runs them clock by
clock. `search` finds the smallest system that keeps the limits.
"""
