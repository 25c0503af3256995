-- Written by detfm. The payload between channels of the EMP framework: which channel each of its links is.
library ieee;
use ieee.std_logic_1164.all;

use work.emp_data_types.all;

entity @{entity} is
  port (
    clk : in  std_logic;
    rst : in  std_logic;
    d   : in  ldata;
    q   : out ldata
  );
end @{entity};

architecture rtl of @{entity} is

  type channels is array (natural range <>) of natural;
  constant D_CHANNELS : channels(0 to @{in_links} - 1) := (@{in_channels});
  constant Q_CHANNELS : channels(0 to @{out_links} - 1) := (@{out_channels});

  component @{payload} is
    port (
      clk              : in  std_logic;
      rst              : in  std_logic;
      d_data           : in  std_logic_vector(64 * @{in_links} - 1 downto 0);
      d_valid          : in  std_logic_vector(@{in_links} - 1 downto 0);
      d_start          : in  std_logic_vector(@{in_links} - 1 downto 0);
      d_last           : in  std_logic_vector(@{in_links} - 1 downto 0);
      d_start_of_orbit : in  std_logic_vector(@{in_links} - 1 downto 0);
      d_strobe         : in  std_logic_vector(@{in_links} - 1 downto 0);
      q_data           : out std_logic_vector(64 * @{out_links} - 1 downto 0);
      q_valid          : out std_logic;
      q_start          : out std_logic;
      q_last           : out std_logic;
      q_start_of_orbit : out std_logic
    );
  end component;

  signal d_data : std_logic_vector(64 * @{in_links} - 1 downto 0);
  signal d_valid, d_start, d_last, d_start_of_orbit, d_strobe : std_logic_vector(@{in_links} - 1 downto 0);
  signal q_data : std_logic_vector(64 * @{out_links} - 1 downto 0);
  signal q_valid, q_start, q_last, q_start_of_orbit : std_logic;

begin

  inputs : for i in D_CHANNELS'range generate
    d_data(64 * i + 63 downto 64 * i) <= d(D_CHANNELS(i)).data;
    d_valid(i)                        <= d(D_CHANNELS(i)).valid;
    d_start(i)                        <= d(D_CHANNELS(i)).start;
    d_last(i)                         <= d(D_CHANNELS(i)).last;
    d_start_of_orbit(i)               <= d(D_CHANNELS(i)).start_of_orbit;
    d_strobe(i)                       <= d(D_CHANNELS(i)).strobe;
  end generate;

  payload : @{payload}
    port map (
      clk              => clk,
      rst              => rst,
      d_data           => d_data,
      d_valid          => d_valid,
      d_start          => d_start,
      d_last           => d_last,
      d_start_of_orbit => d_start_of_orbit,
      d_strobe         => d_strobe,
      q_data           => q_data,
      q_valid          => q_valid,
      q_start          => q_start,
      q_last           => q_last,
      q_start_of_orbit => q_start_of_orbit
    );

  -- All links carry the same flags; channels of no link are silent.
  outputs : process (q_data, q_valid, q_start, q_last, q_start_of_orbit)
  begin
    q <= (q'range => LWORD_NULL);
    for i in Q_CHANNELS'range loop
      q(Q_CHANNELS(i)).data           <= q_data(64 * i + 63 downto 64 * i);
      q(Q_CHANNELS(i)).valid          <= q_valid;
      q(Q_CHANNELS(i)).start          <= q_start;
      q(Q_CHANNELS(i)).last           <= q_last;
      q(Q_CHANNELS(i)).start_of_orbit <= q_start_of_orbit;
      q(Q_CHANNELS(i)).strobe         <= '1';
    end loop;
  end process;

end rtl;
