-- Written by detfm: an example for a Serenity with a VU13P. Which regions there are, and with which transceivers, is the
-- board's; the payload needs regions 0 to @{last_region} with buffers at its inputs and outputs.
library ieee;
use ieee.std_logic_1164.all;

use work.emp_framework_decl.all;
use work.emp_device_types.all;
use work.emp_slink_types.all;

package emp_project_decl is

  constant PAYLOAD_REV : std_logic_vector(31 downto 0) := X"@{revision}";

  constant LB_ADDR_WIDTH : integer := 10;  -- buffers of 1024 frames

  -- clk_p is CLOCK_RATIO * 40 MHz = @{clock_mhz} MHz.
  constant CLOCK_COMMON_RATIO : integer               := @{common_ratio};
  constant CLOCK_RATIO        : integer               := @{frames};
  constant CLOCK_AUX_DIV      : clock_divisor_array_t := (18, 9, 4);

  constant PAYLOAD_LATENCY : integer := @{latency};

  constant REGION_CONF : region_conf_array_t := (
@{regions}
    others => kDummyRegion
  );

  constant SLINK_CONF : slink_conf_array_t := (others => kNoSlink);

end emp_project_decl;
