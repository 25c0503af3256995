// Written by detfm. Sends the vectors of tb/data, one per clock, and compares every output bit and the latency.
`timescale 1ns / 1ps

module @{module}_tb #(
    parameter DATA = "tb/data"
);
  localparam VECTORS = @{vectors};
  localparam LATENCY = @{latency};

  reg clk = 0;
  reg rst = 1;
  reg valid_in = 0;
  wire valid_out;
  integer sent = 0;
  integer received = 0;
  integer cycle = 0;
  integer first_in = 0;
  integer wrong = 0;
@{declarations}

  @{module} dut (.clk(clk), .rst(rst), .valid_in(valid_in), .valid_out(valid_out), @{ports});

  initial begin
@{read}
  end

  always #1 clk = ~clk;

  always @@(posedge clk) begin
    cycle <= cycle + 1;
    rst <= cycle < 3;
    valid_in <= cycle >= 4 && sent < VECTORS;
    if (cycle == 4) first_in <= cycle + 1;
    if (cycle >= 4 && sent < VECTORS) begin
@{drive}
      sent <= sent + 1;
    end
    if (valid_out) begin
      if (received == 0 && cycle - first_in != LATENCY) begin
        $display("FAIL: the first output comes after %0d clocks, not %0d", cycle - first_in, LATENCY);
        wrong <= wrong + 1;
      end
      if (@{differs}) begin
        wrong <= wrong + 1;
        if (wrong < 10) begin
          $display("FAIL: vector %0d differs", received);
@{show}
        end
      end
      received <= received + 1;
    end
    if (cycle == VECTORS + LATENCY + 20) begin
      if (received != VECTORS) $display("FAIL: %0d outputs of %0d vectors", received, VECTORS);
      if (received != VECTORS || wrong != 0) $fatal(1, "FAIL: %0d differences", wrong);
      $display("PASS: %0d vectors, every bit as expected, latency %0d clocks, one vector per clock", VECTORS, LATENCY);
      $finish;
    end
  end
endmodule
