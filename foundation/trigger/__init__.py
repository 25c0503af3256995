"""What a trigger costs and what it gains: rates in kHz, thresholds at a rate, menus, efficiency at a fixed rate.

Everything here is counted from zero-bias crossings; what too few of them give is refused, with its interval. Dead time
is ignored: rates are those of the trigger's decision, not of what is read out.
"""
