# Vitis HLS: C simulation, synthesis, co-simulation, IP export.
#   vitis-run --mode hls --tcl build_hls.tcl          (Vitis 2024.1 and later)
#   vitis_hls -f build_hls.tcl                        (before)
# Choose steps or another device with, for example,
#   DETFM_STEPS="csim csynth" DETFM_PART=xcvu13p-flga2577-2-e DETFM_CLOCK_NS=2.777 vitis_hls -f build_hls.tcl

proc setting {variable default} {
  return [expr {[info exists ::env($variable)] ? $::env($variable) : $default}]
}
set part  [setting DETFM_PART @{part}]
set clock [setting DETFM_CLOCK_NS @{clock_ns}]
set steps [setting DETFM_STEPS "csim csynth cosim export"]

set root [file normalize [file dirname [info script]]]
open_project -reset @{name}_hls
set_top @{name}
add_files $root/src/@{name}.cpp -cflags "-std=c++14 -I$root/src"
add_files -tb $root/tb/@{name}_tb.cpp -cflags "-std=c++14 -I$root/src -I$root/tb"
add_files -tb $root/tb/words.h
add_files -tb $root/tb/run.h
add_files -tb $root/tb/data
open_solution -reset "solution" -flow_target vivado
set_part $part
create_clock -period $clock -name default
config_compile -name_max_length 80

# Vitis runs the test bench elsewhere: tell it where the vectors are.
set arguments "$root/tb/data csim_output.txt"
if {"csim" in $steps}   { csim_design -argv $arguments }
if {"csynth" in $steps} { csynth_design }
if {"cosim" in $steps}  { cosim_design -argv $arguments -trace_level none }
if {"export" in $steps} { export_design -format ip_catalog -version @{version}.0 -display_name @{namespace} }
exit
