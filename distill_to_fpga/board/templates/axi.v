// Written by detfm. The network behind AXI4-Stream: an inference is IN_WORDS words of 64 bits, its outputs OUT_WORDS; the
// words of LINKS.md in their order, BEAT of them side by side in a beat, the first lowest. With BEAT = IN_WORDS (and no
// more outputs) an inference enters with every clock. `tlast` with the last beat of an inference comes out with the last
// beat of its outputs; earlier than that it drops the inference.
// The pipeline cannot wait: an inference is let in only if there is room for its outputs.
`timescale 1ns / 1ps

module @{module} #(
    parameter BEAT = 1
) (
    (* X_INTERFACE_PARAMETER = "ASSOCIATED_BUSIF s_axis:m_axis, ASSOCIATED_RESET aresetn" *)
    input aclk,
    input aresetn,
    input [64*BEAT-1:0] s_axis_tdata,
    input s_axis_tvalid,
    input s_axis_tlast,
    output s_axis_tready,
    output [64*BEAT-1:0] m_axis_tdata,
    output [8*BEAT-1:0] m_axis_tkeep,
    output m_axis_tvalid,
    output m_axis_tlast,
    input m_axis_tready
);
  localparam IN_WORDS = @{in_words};
  localparam OUT_WORDS = @{out_words};
  localparam LATENCY = @{latency};  // of the network
  localparam IN_BEATS = (IN_WORDS + BEAT - 1) / BEAT;
  localparam OUT_BEATS = (OUT_WORDS + BEAT - 1) / BEAT;
  localparam INDEX = $clog2((LATENCY + 3) / IN_BEATS + 2);
  localparam DEPTH = 1 << INDEX;  // inferences on their way: enough for the full rate
  localparam COUNT = IN_BEATS > 1 ? $clog2(IN_BEATS) : 1;

  wire rst = ~aresetn;
  reg [COUNT-1:0] beat = 0;
  reg [INDEX:0] used = 0;     // inferences let in whose outputs have not begun to leave
  reg [INDEX:0] waiting = 0;  // of those, the ones with outputs
  wire ends = beat == IN_BEATS - 1;
  assign s_axis_tready = ~ends | ~used[INDEX];
  wire take = s_axis_tvalid & s_axis_tready;
  wire launch = take & ends;
  wire made, free;
  wire load = free & (waiting != 0);
  always @@(posedge aclk) begin
    if (rst) begin
      beat <= 0;
      used <= 0;
      waiting <= 0;
    end else begin
      if (take) beat <= ends | s_axis_tlast ? 0 : beat + 1'b1;
      used <= used + launch - load;
      waiting <= waiting + made - load;
    end
  end

  wire [64*BEAT*IN_BEATS-1:0] collected;
  wire [64*OUT_WORDS-1:0] words_out;
  @{prefix}_collect #(.WIDTH(64 * BEAT), .FRAMES(IN_BEATS)) collect
      (.clk(aclk), .take(take), .word(s_axis_tdata), .all(collected));
  @{words} words (.clk(aclk), .rst(rst), .valid_in(launch), .words_in(collected[64*IN_WORDS-1:0]),
      .words_out(words_out), .valid_out(made));

  // tlast goes beside the network.
  reg [LATENCY-1:0] lasts = 0;
  wire [LATENCY:0] shifted = {lasts, s_axis_tlast};
  always @@(posedge aclk) lasts <= shifted[LATENCY-1:0];

  reg [64*OUT_WORDS:0] stored[0:DEPTH-1];
  reg [INDEX-1:0] tail = 0;
  reg [INDEX-1:0] head = 0;
  wire [64*OUT_WORDS:0] oldest = stored[head];
  wire [64*BEAT*OUT_BEATS-1:0] leaving = oldest[64*OUT_WORDS-1:0];
  reg ends_all = 0;
  always @@(posedge aclk) begin
    if (made) stored[tail] <= {lasts[LATENCY-1], words_out};
    if (load) ends_all <= oldest[64*OUT_WORDS];
    tail <= rst ? 0 : tail + made;
    head <= rst ? 0 : head + load;
  end

  wire last;
  @{prefix}_send #(.WIDTH(64 * BEAT), .FRAMES(OUT_BEATS)) send
      (.clk(aclk), .rst(rst), .load(load), .all(leaving), .ready(m_axis_tready), .free(free), .word(m_axis_tdata),
       .valid(m_axis_tvalid), .first(), .last(last));
  assign m_axis_tlast = last & ends_all;
  assign m_axis_tkeep = {8 * BEAT{1'b1}};
endmodule
