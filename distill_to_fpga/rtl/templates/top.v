// Written by detfm. One input per clock (initiation interval 1); its outputs come after LATENCY clock edges, and
// `valid_out` says so. `rst` only clears the valid bits: data pass through whatever they are.
`timescale 1ns / 1ps

module @{module} (
    input clk,
    input rst,
    input valid_in,
@{inputs}
@{outputs}
    output valid_out
);
  localparam LATENCY = @{latency};

  wire [@{core_in}:0] core_in;
  wire [@{core_out}:0] core_out;

@{moves}

  @{core} core (.clk(clk), .model_inp(core_in), .model_out(core_out));

  reg [LATENCY-1:0] valid = 0;
  wire [LATENCY:0] shifted = {valid, valid_in};
  always @@(posedge clk) valid <= rst ? {LATENCY{1'b0}} : shifted[LATENCY-1:0];
  assign valid_out = valid[LATENCY-1];
endmodule
