# Vivado: an overlay for PYNQ on a Zynq UltraScale+ card: processor, DMA, the network behind AXI4-Stream.
#   vivado -mode batch -source build_overlay.tcl           makes overlay.bit and overlay.hwh here
# Another card: DETFM_BOARD_PART=xilinx.com:kv260_som:part0:1.4 DETFM_PART=xck26-sfvc784-2LV-c vivado ...

proc setting {variable default} {
  return [expr {[info exists ::env($variable)] ? $::env($variable) : $default}]
}
set here [file normalize [file dirname [info script]]]
set root [file dirname $here]

create_project -force @{name}_overlay $here/vivado -part [setting DETFM_PART xczu7ev-ffvc1156-2-e]
set_property board_part [setting DETFM_BOARD_PART xilinx.com:zcu104:part0:1.1] [current_project]
add_files [concat [glob $root/src/*.v] [glob -nocomplain $root/src/alkaid/*.v]]
update_compile_order -fileset sources_1

create_bd_design overlay
create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e ps
apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset 1} [get_bd_cells ps]
set_property -dict [list CONFIG.PSU__USE__M_AXI_GP0 1 CONFIG.PSU__USE__M_AXI_GP1 0 CONFIG.PSU__USE__M_AXI_GP2 0 \
  CONFIG.PSU__USE__S_AXI_GP2 1] [get_bd_cells ps]

create_bd_cell -type ip -vlnv xilinx.com:ip:axi_dma axi_dma
set_property -dict [list CONFIG.c_include_sg 0 CONFIG.c_sg_length_width 26 CONFIG.c_m_axi_mm2s_data_width 64 \
  CONFIG.c_m_axis_mm2s_tdata_width 64 CONFIG.c_m_axi_s2mm_data_width 64 CONFIG.c_s_axis_s2mm_tdata_width 64] \
  [get_bd_cells axi_dma]

create_bd_cell -type module -reference @{module} network
connect_bd_intf_net [get_bd_intf_pins axi_dma/M_AXIS_MM2S] [get_bd_intf_pins network/s_axis]
connect_bd_intf_net [get_bd_intf_pins network/m_axis] [get_bd_intf_pins axi_dma/S_AXIS_S2MM]

proc connect {master slave} {
  apply_bd_automation -rule xilinx.com:bd_rule:axi4 \
    -config [list Clk_master Auto Clk_slave Auto Clk_xbar Auto Master $master Slave $slave ddr_seg Auto intc_ip Auto] \
    [get_bd_intf_pins $slave]
}
connect /ps/M_AXI_HPM0_FPD /axi_dma/S_AXI_LITE
connect /axi_dma/M_AXI_MM2S /ps/S_AXI_HP0_FPD
connect /axi_dma/M_AXI_S2MM /ps/S_AXI_HP0_FPD
connect_bd_net [get_bd_pins ps/pl_clk0] [get_bd_pins network/aclk]
connect_bd_net [get_bd_pins -filter {NAME == peripheral_aresetn} -of [get_bd_cells -filter {VLNV =~ *proc_sys_reset*}]] \
  [get_bd_pins network/aresetn]

validate_bd_design
save_bd_design
add_files -norecurse [make_wrapper -files [get_files overlay.bd] -top]
set_property top overlay_wrapper [current_fileset]
launch_runs impl_1 -to_step write_bitstream -jobs 4
wait_on_run impl_1
file copy -force [glob $here/vivado/*.runs/impl_1/overlay_wrapper.bit] $here/overlay.bit
file copy -force [lindex [glob $here/vivado/*.gen/sources_1/bd/overlay/hw_handoff/overlay.hwh] 0] $here/overlay.hwh
