# Written by detfm: @{module} out of context.
create_clock -period @{clock_ns} -name clk [get_ports clk]
set_clock_uncertainty @{uncertainty} [get_clocks clk]
