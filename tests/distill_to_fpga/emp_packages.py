"""The EMP framework as far as the payload needs it: its packages, a stand-in for the payload, a bench. Written from the
names and types that public payloads use."""

from __future__ import annotations

PACKAGES = """
library ieee; use ieee.std_logic_1164.all;
package ipbus is
  type ipb_wbus is record ipb_addr, ipb_wdata : std_logic_vector(31 downto 0); ipb_strobe, ipb_write : std_logic;
  end record;
  type ipb_rbus is record ipb_rdata : std_logic_vector(31 downto 0); ipb_ack, ipb_err : std_logic; end record;
  constant IPB_RBUS_NULL : ipb_rbus := ((others => '0'), '0', '0');
end ipbus;
library ieee; use ieee.std_logic_1164.all;
package emp_data_types is
  type lword is record
    data : std_logic_vector(63 downto 0); valid, start, start_of_orbit, last, strobe : std_logic;
  end record;
  type ldata is array (natural range <>) of lword;
  constant LWORD_NULL : lword := ((others => '0'), '0', '0', '0', '0', '1');
end emp_data_types;
package emp_device_decl is
  constant N_REGION : integer := 2; constant N_LVDS_IN, N_LVDS_OUT : integer := 3;
end emp_device_decl;
library ieee; use ieee.std_logic_1164.all;
package emp_ttc_decl is
  type ttc_stuff_t is record l1a : std_logic; end record;
  type ttc_stuff_array is array (natural range <>) of ttc_stuff_t;
end emp_ttc_decl;
library ieee; use ieee.std_logic_1164.all;
package emp_slink_types is
  constant SLINK_MAX_QUADS : integer := 2;
  type slink_input_data_quad_array is array (natural range <>) of std_logic_vector(7 downto 0);
  type slink_conf_array_t is array (0 to 1) of integer; constant kNoSlink : integer := 0;
end emp_slink_types;
package tcds2_streams_pkg is
  type tcds2_ttc2 is record bunch : integer; end record;
end tcds2_streams_pkg;
package emp_framework_decl is
  type clock_divisor_array_t is array (0 to 2) of integer;
end emp_framework_decl;
package emp_device_types is
  type kind is (no_mgt, gty25, buf, no_fmt);
  type region_conf_t is record rx, rx_buf, fmt, tx_buf, tx : kind; end record;
  type region_conf_array_t is array (0 to 1) of region_conf_t;
  constant kDummyRegion : region_conf_t := (no_mgt, buf, no_fmt, buf, no_mgt);
end emp_device_types;
"""

BENCH = """
library ieee; use ieee.std_logic_1164.all;
entity detfm_wide_payload_v2 is
  port (clk, rst : in std_logic; d_data : in std_logic_vector(127 downto 0);
    d_valid, d_start, d_last, d_start_of_orbit, d_strobe : in std_logic_vector(1 downto 0);
    q_data : out std_logic_vector(191 downto 0); q_valid, q_start, q_last, q_start_of_orbit : out std_logic);
end detfm_wide_payload_v2;
architecture sim of detfm_wide_payload_v2 is begin
  q_data <= x"00000000000000AA" & d_data;
  q_valid <= d_valid(1) and d_strobe(0); q_start <= d_start(0); q_last <= d_last(1);
  q_start_of_orbit <= d_start_of_orbit(1);
end sim;

library ieee; use ieee.std_logic_1164.all;
use work.ipbus.all; use work.emp_data_types.all; use work.emp_ttc_decl.all; use work.emp_slink_types.all;
entity tb is end tb;
architecture sim of tb is
  signal d, q : ldata(7 downto 0) := (others => LWORD_NULL);
  signal one : std_logic := '0'; signal three : std_logic_vector(2 downto 0) := "000";
  signal two : std_logic_vector(1 downto 0) := "00"; signal ctrs : ttc_stuff_array(1 downto 0);
  signal wbus : ipb_wbus; signal gpio_en : std_logic_vector(29 downto 0);
begin
  dut : entity work.emp_payload port map (clk => one, rst => one, ipb_in => wbus, ipb_out => open, clk40 => one,
    clk_payload => three, rst_payload => three, clk_p => one, rst_loc => two, clken_loc => two, ctrs => ctrs,
    d => d, q => q, gpio => open, gpio_en => gpio_en, slink_q => open, backpressure => two, @ports@);
  process begin
    d(0).data <= x"0000000000001111"; d(1).data <= x"0000000000002222"; d(2).data <= x"0000000000003333";
    d(0).start <= '1'; d(1).valid <= '1'; d(1).last <= '1'; d(1).start_of_orbit <= '1';
    wait for 1 ns;
    assert q(0).data = x"0000000000001111" and q(1).data = x"0000000000002222" severity failure;
    assert q(2).data = x"00000000000000AA" and q(3) = LWORD_NULL severity failure;
    assert q(2).valid = '1' and q(2).start = '1' and q(2).last = '1' and q(2).start_of_orbit = '1' severity failure;
    assert q(0).strobe = '1' and gpio_en(29) = '0' severity failure;
    d(0).strobe <= '0'; d(0).start <= '0';
    wait for 1 ns;
    assert q(0).valid = '0' and q(0).start = '0' and q(0).last = '1' severity failure;
    report "channels as mapped"; wait;
  end process;
end sim;
"""
