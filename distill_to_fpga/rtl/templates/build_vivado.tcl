# Vivado, out of context: synthesis, placement, routing, reports.
#   vivado -mode batch -source build_vivado.tcl
# Another device, or synthesis alone:
#   DETFM_PART=xcvu9p-flga2104-2L-e DETFM_STEPS="synth" vivado -mode batch -source build_vivado.tcl

proc setting {variable default} {
  return [expr {[info exists ::env($variable)] ? $::env($variable) : $default}]
}
set part  [setting DETFM_PART @{part}]
set steps [setting DETFM_STEPS "synth place route"]

set root [file normalize [file dirname [info script]]]
file mkdir $root/reports
read_verilog [concat [glob $root/src/*.v] [glob -nocomplain $root/src/alkaid/*.v]]
read_xdc -mode out_of_context $root/constraints/@{name}.xdc

# Products in LUTs, as the estimates and Yosys count them; leave -max_dsp out to let Vivado use DSPs.
synth_design -top @{module} -part $part -mode out_of_context -flatten_hierarchy full -max_dsp 0
report_utilization -file $root/reports/synth_utilization.rpt
report_timing_summary -file $root/reports/synth_timing.rpt
if {"place" in $steps} {
  opt_design
  place_design
  phys_opt_design
}
if {"route" in $steps} {
  route_design
  report_utilization -file $root/reports/route_utilization.rpt
  report_timing_summary -file $root/reports/route_timing.rpt
}
write_checkpoint -force $root/reports/@{name}.dcp
exit
