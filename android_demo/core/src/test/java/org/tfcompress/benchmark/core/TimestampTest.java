package org.tfcompress.benchmark.core;

import static org.junit.Assert.assertEquals;

import org.junit.Test;

public class TimestampTest {
  @Test
  public void writesUniversalTime() {
    assertEquals("1970-01-02T00:00:01Z", Timestamp.of(86_401_000));
  }

  @Test
  public void readsFractionsAndOffsets() {
    assertEquals(86_401_000, Timestamp.millisecondsSince1970("1970-01-02T00:00:01Z"));
    assertEquals(86_401_250, Timestamp.millisecondsSince1970("1970-01-02T00:00:01.25Z"));
    assertEquals(79_201_000, Timestamp.millisecondsSince1970("1970-01-02T00:00:01+02:00"));
  }

  @Test
  public void refusesOthers() {
    for (String text : new String[] {"yesterday", "1970-01-02T00:00:01", "1970-13-02T00:00:01Z"}) {
      assertEquals(
          "started_at must be a date such as 2026-11-28T20:01:24Z; got \"" + text + "\".",
          Errors.of(() -> Timestamp.millisecondsSince1970(text)));
    }
  }
}
