// Written by detfm. The network between 64-bit words: wiring only. LINKS.md says which bits carry which number.
`timescale 1ns / 1ps

module @{module} (
    input clk,
    input rst,
    input valid_in,
    input [@{top_in}:0] words_in,
    output [@{top_out}:0] words_out,
    output valid_out
);
@{wires}

@{moves}

  @{network} network (
      .clk(clk),
      .rst(rst),
      .valid_in(valid_in),
      .valid_out(valid_out),
@{ports}
  );
endmodule
