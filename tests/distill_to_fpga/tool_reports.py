"""Reports in the formats of Vivado and Vitis HLS, short and of no real design."""

from __future__ import annotations

HEAD = """Copyright 1986-2022 Xilinx, Inc. All Rights Reserved.
-----------------------------------------------------------------
| Tool Version : Vivado v.2023.2 (lin64) Build 4029153 Fri Oct 13 20:13:54 MDT 2023
| Date         : Mon Mar  3 10:11:12 2025
| Host         : trigger running 64-bit Linux
| Command      : {command} -file reports/{name}.rpt
| Design       : {design}
| Device       : xcvu13p-flga2577-2-e
| Speed File   : -2
{state}-----------------------------------------------------------------

"""

UTILIZATION = """Utilization Design Information

1. CLB Logic
------------

+----------------------------+-------+-------+------------+-----------+-------+
|          Site Type         |  Used | Fixed | Prohibited | Available | Util% |
+----------------------------+-------+-------+------------+-----------+-------+
| CLB LUTs{star}                  | {luts:>5} |     0 |          0 |   1728000 |  0.59 |
|   LUT as Logic             | {luts:>5} |     0 |          0 |   1728000 |  0.59 |
|   LUT as Memory            |     0 |     0 |          0 |    791040 |  0.00 |
| CLB Registers              |  7801 |     0 |          0 |   3456000 |  0.23 |
| CARRY8                     |  1020 |     0 |          0 |    216000 |  0.47 |
+----------------------------+-------+-------+------------+-----------+-------+
* Warning! The Final LUT count, after physical optimizations and full implementation, is typically lower.

3. BLOCKRAM
-----------

+-------------------+------+-------+------------+-----------+-------+
|     Site Type     | Used | Fixed | Prohibited | Available | Util% |
+-------------------+------+-------+------------+-----------+-------+
| Block RAM Tile    |  1.5 |     0 |          0 |      2688 |  0.06 |
|   RAMB18          |    3 |     0 |          0 |      5376 |  0.06 |
| URAM              |    0 |     0 |          0 |      1280 |  0.00 |
+-------------------+------+-------+------------+-----------+-------+

4. ARITHMETIC
-------------

+-----------+------+-------+------------+-----------+-------+
| Site Type | Used | Fixed | Prohibited | Available | Util% |
+-----------+------+-------+------------+-----------+-------+
| DSPs      |   12 |     0 |          0 |     12288 |  0.10 |
+-----------+------+-------+------------+-----------+-------+

14. SLR CLB Logic and Dedicated Block Utilization
-------------------------------------------------

+---------------+------+------+--------+--------+
|   Site Type   | SLR0 | SLR1 | SLR0 % | SLR1 % |
+---------------+------+------+--------+--------+
| CLB LUTs      |  100 |    0 |   0.02 |   0.00 |
| CLB Registers |  101 |    0 |   0.01 |   0.00 |
| DSPs          |    1 |    0 |   0.01 |   0.00 |
+---------------+------+------+--------+--------+
"""

TIMING = """Timing Summary Report

------------------------------------------------------------------------------------------------
| Design Timing Summary
| ---------------------
------------------------------------------------------------------------------------------------

    WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)      THS(ns)
    -------      -------  ---------------------  -------------------      -------      -------
{slack:>11}  {total:>11}  {failing:>21}                15811        0.021        0.000

------------------------------------------------------------------------------------------------
| Clock Summary
| -------------
------------------------------------------------------------------------------------------------

Clock  Waveform(ns)       Period(ns)      Frequency(MHz)
-----  ------------       ----------      --------------
clk    {{0.000 2.500}}      5.000           200.000

"""

CSYNTH_XML = """<?xml version="1.0" encoding="UTF-8"?>
<profile>
  <ReportVersion><Version>2023.2</Version></ReportVersion>
  <UserAssignments>
    <unit>ns</unit>
    <Part>xcvu13p-flga2577-2-e</Part>
    <TopModelName>student</TopModelName>
    <TargetClockPeriod>5.00</TargetClockPeriod>
  </UserAssignments>
  <PerformanceEstimates>
    <SummaryOfTimingAnalysis><unit>ns</unit><EstimatedClockPeriod>3.512</EstimatedClockPeriod></SummaryOfTimingAnalysis>
    <SummaryOfOverallLatency>
      <Best-caseLatency>9</Best-caseLatency>
      <Worst-caseLatency>11</Worst-caseLatency>
      <Interval-min>1</Interval-min>
      <Interval-max>1</Interval-max>
    </SummaryOfOverallLatency>
  </PerformanceEstimates>
  <AreaEstimates>
    <Resources><BRAM_18K>3</BRAM_18K><DSP>4</DSP><FF>5123</FF><LUT>14250</LUT><URAM>0</URAM></Resources>
    <AvailableResources><BRAM_18K>5376</BRAM_18K><DSP>12288</DSP><FF>3456000</FF><LUT>1728000</LUT></AvailableResources>
  </AreaEstimates>
  <ModuleInformation>
    <Module><Name>dense_1</Name><AreaEstimates><Resources><LUT>99</LUT></Resources></AreaEstimates></Module>
  </ModuleInformation>
</profile>
"""

CSYNTH_RPT = """

================================================================
== Vitis HLS Report for '{top}'
================================================================
* Date:           Mon Mar  3 10:11:12 2025

* Version:        2023.2 (Build 4023990 on Oct 11 2023)
* Project:        student_hls
* Solution:       solution (Vivado IP Flow Target)
* Product family: virtexuplus
* Target device:  xcvu13p-flga2577-2-e


================================================================
== Performance Estimates
================================================================
+ Timing:
    * Summary:
    +--------+---------+----------+------------+
    |  Clock |  Target | Estimated| Uncertainty|
    +--------+---------+----------+------------+
    |ap_clk  |  5.00 ns|  3.512 ns|     1.35 ns|
    +--------+---------+----------+------------+

+ Latency:
    * Summary:
    +---------+---------+-----------+-----------+-----+-----+---------+
    |  Latency (cycles) |   Latency (absolute)  |  Interval | Pipeline|
    |   min   |   max   |    min    |    max    | min | max |   Type  |
    +---------+---------+-----------+-----------+-----+-----+---------+
    |        9|       11|  45.000 ns|  55.000 ns|    1|    1|      yes|
    +---------+---------+-----------+-----------+-----+-----+---------+

    + Detail:
        * Instance:
        N/A

================================================================
== Utilization Estimates
================================================================
* Summary:
+---------------------+---------+-------+---------+---------+------+
|         Name        | BRAM_18K|  DSP  |    FF   |   LUT   | URAM |
+---------------------+---------+-------+---------+---------+------+
|DSP                  |        -|      -|        -|        -|     -|
|Expression           |        -|      4|        0|    14200|     -|
|Memory               |        3|      -|        -|        -|     -|
|Register             |        -|      -|     5123|       50|     -|
+---------------------+---------+-------+---------+---------+------+
|Total                |        3|      4|     5123|    {luts}|     0|
+---------------------+---------+-------+---------+---------+------+
|Available            |     5376|  12288|  3456000|  1728000|  1280|
+---------------------+---------+-------+---------+---------+------+
"""

SUMMARY_RPT = """

================================================================
== Synthesis Summary Report of 'student'
================================================================
+ General Information:
    * Date:           Mon Mar  3 10:11:12 2025
    * Version:        2023.2 (Build 4023990 on Oct 11 2023)
    * Project:        student_hls
    * Target device:  xcvu13p-flga2577-2-e


+ Performance & Resource Estimates:

    PS: '+' for module; 'o' for loop; '*' for dataflow
    +--------------+------+------+---------+--------+----------+---------+------+----------+----------+----------+------------+-------------+-----+
    |    Modules   | Issue|      | Latency | Latency| Iteration|         | Trip |          |          |          |            |             |     |
    |    & Loops   | Type | Slack| (cycles)|  (ns)  |  Latency | Interval| Count| Pipelined|   BRAM   |    DSP   |     FF     |     LUT     | URAM|
    +--------------+------+------+---------+--------+----------+---------+------+----------+----------+----------+------------+-------------+-----+
    |+ student     |     -|  0.14|       11|  55.000|         -|        1|     -|       yes|   3 (~0%)|   4 (~0%)|  5123 (~0%)|  14250 (~0%)|    -|
    | + dense_1    |     -|  0.14|        2|  10.000|         -|        1|     -|       yes|         -|         -|    99 (~0%)|     99 (~0%)|    -|
    +--------------+------+------+---------+--------+----------+---------+------+----------+----------+----------+------------+-------------+-----+
"""  # noqa: E501


def head(command: str, name: str, design: str, state: str) -> str:
    said = f"| Design State : {state}\n" if state else ""
    return HEAD.format(command=command, name=name, design=design, state=said)


def utilization(luts: int = 10182, state: str = "Routed", design: str = "detfm_student_v1") -> str:
    star = "*" if state == "Synthesized" else " "
    return head("report_utilization", "util", design, state) + UTILIZATION.format(luts=luts, star=star)


def timing(slack: str = "0.312", state: str = "Routed", failing: int = 0, design: str = "detfm_student_v1") -> str:
    total = "0.000" if not slack.startswith("-") else "-1.250"
    return head("report_timing_summary", "timing", design, state) + TIMING.format(
        slack=slack, total=total, failing=failing
    )
