// Written by detfm. Words that come or go one after another; `collect` and `send` have nothing of the network.
`timescale 1ns / 1ps

// The last FRAMES words taken, the first of them lowest, the one at the input among them.
module @{prefix}_collect #(
    parameter WIDTH  = 64,
    parameter FRAMES = 9
) (
    input clk,
    input take,
    input [WIDTH-1:0] word,
    output [WIDTH*FRAMES-1:0] all
);
  generate
    if (FRAMES == 1) begin : single
      assign all = word;
    end else begin : several
      reg [WIDTH*(FRAMES-1)-1:0] held;
      assign all = {word, held};
      always @@(posedge clk) if (take) held <= all[WIDTH*FRAMES-1:WIDTH];
    end
  endgenerate
endmodule

// FRAMES words, the lowest first; the next may be loaded where `free`: at the latest while the last one goes.
module @{prefix}_send #(
    parameter WIDTH  = 64,
    parameter FRAMES = 9
) (
    input clk,
    input rst,
    input load,
    input [WIDTH*FRAMES-1:0] all,
    input ready,
    output free,
    output [WIDTH-1:0] word,
    output valid,
    output first,
    output last
);
  reg [WIDTH*FRAMES-1:0] leaving = 0;
  reg [FRAMES-1:0] ahead = 0;  // a one for each word still to go
  reg begins = 0;
  wire [FRAMES-1:0] after = ahead >> 1;
  assign word  = leaving[WIDTH-1:0];
  assign valid = ahead[0];
  assign first = valid & begins;
  assign last  = valid & ~after[0];
  assign free  = ~valid | (last & ready);
  always @@(posedge clk) begin
    if (rst) ahead <= 0;
    else if (load) begin
      leaving <= all;
      ahead   <= {FRAMES{1'b1}};
      begins  <= 1;
    end else if (valid & ready) begin
      leaving <= leaving >> WIDTH;
      ahead   <= after;
      begins  <= 0;
    end
  end
endmodule
