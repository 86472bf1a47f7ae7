package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertTrue;

import java.util.Collections;
import org.junit.Test;

public class ResultCsvTest {
  private static final String NAMES =
      "started_at,device,soc,system,abi,runtime,runtime_version,runner,backend,num_threads,model,"
          + "sha256,size_bytes,init_ms,first_ms,warm_up,runs,median_ms,p90_ms,p95_ms,p99_ms,"
          + "min_ms,max_ms,mean_ms,standard_deviation_ms,outliers,memory_before_bytes,"
          + "memory_after_bytes,memory_peak_bytes,memory_pss_bytes,nodes,nodes_delegated,"
          + "accuracy_examples,accuracy_correct,agreement_examples,agreement_same_top1,agreement_max_error,"
          + "agreement_mean_error,max_thermal_status,max_thermal_headroom,max_battery_celsius,"
          + "cancelled,error";
  private static final String BEGIN =
      "2026-11-28T20:01:24Z,Example Phone 7,SoC 9000,Android 14 (API 34),arm64-v8a,LiteRT,1.4.2,"
          + "app,xnnpack,4,";

  private static String repeated(String letter) {
    return new String(new char[64]).replace("\0", letter);
  }

  @Test
  public void writesALineForEachRun() {
    String[] lines = ResultCsv.write(Examples.result()).split("\r\n");
    assertEquals(4, lines.length);
    assertEquals(NAMES, lines[0]);
    // Samples 1 1.25 1.5 1.75 4.5: mean 10/5; squares of the distances 1 .5625 .25 .0625 6.25, mean
    // 1.625; MAD .25, so that 4.5 is beyond 1.5 + 3.5 · 1.4826 · .25.
    Statistics of = Examples.result().runs.get(0).statistics();
    String percentiles = of.p90Ms + "," + of.p95Ms + "," + of.p99Ms;
    assertEquals(
        BEGIN + "\"digits int8, \"\"small\"\"\"," + repeated("a")
            + ",5120,12.25,9.5,2,5,1.5," + percentiles + ",1.0,4.5,2.0," + Math.sqrt(1.625)
            + ",1,50000000,52000000,53000000,31000000,53,tfcompress 16; XNNPACK 36,360,351,360,"
            + "359,0.0625,0.001,2,0.75,33.5,false,",
        lines[1]);
    assertEquals(
        BEGIN + "übung," + repeated("b") + ",40960,3.0,2.5,2,2,2.0625,2.1125,2.11875,2.12375,2.0,"
            + "2.125,2.0625,0.0625,0,,,,,,,,,,,,,,,,true,"
            + "\"Cancelled in the timed runs, after 2 timed runs.\"",
        lines[2]);
    assertEquals(
        BEGIN + "broken," + repeated("c") + ",7,,,0,0,,,,,,,,,,,,,,,,,,,,,,,,,false,"
            + "Failed in opening the model: not a model",
        lines[3]);
  }

  @Test
  public void quotesAndLinesOfErrorsAreQuoted() {
    Run.Builder run = new Run.Builder(new ModelId("a\"m", repeated("a"), 1));
    run.error = "one\ntwo";
    Result example = Examples.result();
    String text =
        ResultCsv.write(
            new Result(
                example.startedAt,
                example.device,
                example.runtime,
                example.plan,
                Collections.singletonList(run.build())));
    assertTrue(text, text.contains(BEGIN + "\"a\"\"m\","));
    assertEquals("false,\"one\ntwo\"\r\n", text.substring(text.indexOf("false")));
  }
}
