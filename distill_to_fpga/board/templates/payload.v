// Written by detfm. From links to links: FRAMES words of each input link are the inputs of one bunch crossing, FRAMES
// words of each output link, FRAMES + LATENCY clocks later, its outputs. `*_strobe` low means that there is no word in
// this clock. A packet is `start` to `last`; one that is cut short or too long, or on whose flags the links disagree,
// gives no output.
`timescale 1ns / 1ps

module @{module} (
    input clk,
    input rst,
    input [64*@{in_links}-1:0] d_data,
    input [@{in_links}-1:0] d_valid,
    input [@{in_links}-1:0] d_start,
    input [@{in_links}-1:0] d_last,
    input [@{in_links}-1:0] d_start_of_orbit,
    input [@{in_links}-1:0] d_strobe,
    output [64*@{out_links}-1:0] q_data,
    output q_valid,
    output q_start,
    output q_last,
    output q_start_of_orbit
);
  localparam FRAMES = @{frames};
  localparam IN_LINKS = @{in_links};
  localparam IN_WORDS = @{in_words};
  localparam OUT_LINKS = @{out_links};
  localparam OUT_WORDS = @{out_words};
  localparam LATENCY = @{latency};  // of the network

  // Which word of its packet is at the input; all links are aligned, the first one counts.
  reg [$clog2(FRAMES)-1:0] next = 0;  // 0: a packet must begin
  wire taken = |d_strobe;
  wire begins = d_valid[0] & d_start[0];
  wire [$clog2(FRAMES)-1:0] frame = begins ? 0 : next;
  wire ends = frame == FRAMES - 1;
  wire agree = (d_valid == {IN_LINKS{d_valid[0]}}) & (d_start == {IN_LINKS{d_start[0]}})
             & (d_last == {IN_LINKS{d_last[0]}}) & (d_start_of_orbit == {IN_LINKS{d_start_of_orbit[0]}})
             & (d_strobe == {IN_LINKS{d_strobe[0]}});
  wire fits = agree & d_valid[0] & (begins | next != 0) & (d_last[0] == ends);
  wire complete = taken & fits & ends;
  always @@(posedge clk) begin
    if (rst) next <= 0;
    else if (taken) next <= fits & ~ends ? frame + 1'b1 : 0;
  end

  wire [64*IN_LINKS*FRAMES-1:0] collected;
  @{prefix}_collect #(.WIDTH(64 * IN_LINKS), .FRAMES(FRAMES)) collect
      (.clk(clk), .take(taken), .word(d_data), .all(collected));

  // Word w is frame w % FRAMES of link w / FRAMES.
  wire [64*IN_WORDS-1:0] words_in;
  wire [64*OUT_WORDS-1:0] words_out;
  wire [64*OUT_LINKS*FRAMES-1:0] leaving;
  genvar w;
  generate
    for (w = 0; w < IN_WORDS; w = w + 1) begin : gather
      assign words_in[64*w+:64] = collected[64*((w%FRAMES)*IN_LINKS+w/FRAMES)+:64];
    end
    for (w = 0; w < OUT_LINKS * FRAMES; w = w + 1) begin : spread
      if (w < OUT_WORDS) assign leaving[64*((w%FRAMES)*OUT_LINKS+w/FRAMES)+:64] = words_out[64*w+:64];
      else assign leaving[64*((w%FRAMES)*OUT_LINKS+w/FRAMES)+:64] = 64'b0;
    end
  endgenerate

  wire made;
  @{words} words (.clk(clk), .rst(rst), .valid_in(complete), .words_in(words_in), .words_out(words_out), .valid_out(made));

  // The mark of the orbit goes beside the network.
  reg orbit = 0;
  wire of_orbit = begins ? d_start_of_orbit[0] : orbit;
  reg [LATENCY-1:0] orbits = 0;
  wire [LATENCY:0] shifted = {orbits, complete & of_orbit};
  reg orbit_out = 0;
  always @@(posedge clk) begin
    if (taken) orbit <= of_orbit;
    orbits <= rst ? {LATENCY{1'b0}} : shifted[LATENCY-1:0];
    if (made) orbit_out <= orbits[LATENCY-1];
  end

  @{prefix}_send #(.WIDTH(64 * OUT_LINKS), .FRAMES(FRAMES)) send
      (.clk(clk), .rst(rst), .load(made), .all(leaving), .ready(1'b1), .free(), .word(q_data),
       .valid(q_valid), .first(q_start), .last(q_last));
  assign q_start_of_orbit = q_start & orbit_out;
endmodule
