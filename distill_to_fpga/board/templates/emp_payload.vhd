-- Written by detfm. The payload of the EMP framework, for releases whose payload has @{release}.
library ieee;
use ieee.std_logic_1164.all;

use work.ipbus.all;
use work.emp_data_types.all;
use work.emp_device_decl.all;
use work.emp_ttc_decl.all;
use work.emp_slink_types.all;
@{uses}
entity emp_payload is
  port (
    clk          : in  std_logic;  -- of ipbus, as the next three
    rst          : in  std_logic;
    ipb_in       : in  ipb_wbus;
    ipb_out      : out ipb_rbus;
    clk40        : in  std_logic;
    clk_payload  : in  std_logic_vector(2 downto 0);
    rst_payload  : in  std_logic_vector(2 downto 0);
    clk_p        : in  std_logic;  -- of the links: @{clock_mhz} MHz
    rst_loc      : in  std_logic_vector(N_REGION - 1 downto 0);
    clken_loc    : in  std_logic_vector(N_REGION - 1 downto 0);
    ctrs         : in  ttc_stuff_array;
    d            : in  ldata(4 * N_REGION - 1 downto 0);
    q            : out ldata(4 * N_REGION - 1 downto 0);
    gpio         : out std_logic_vector(29 downto 0);
    gpio_en      : out std_logic_vector(29 downto 0);
    slink_q      : out slink_input_data_quad_array(SLINK_MAX_QUADS - 1 downto 0);
    backpressure : in  std_logic_vector(SLINK_MAX_QUADS - 1 downto 0);
@{ports}
  );
end emp_payload;

architecture rtl of emp_payload is
begin

  links : entity work.@{links}
    port map (clk => clk_p, rst => rst_loc(0), d => d, q => q);

  -- Not used: no registers on ipbus, no mezzanine, no read-out (slink_q is left open).
  ipb_out <= IPB_RBUS_NULL;
  gpio    <= (others => '0');
  gpio_en <= (others => '0');
@{ties}

end rtl;
