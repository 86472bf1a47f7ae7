package org.tfcompress.benchmark.core;

import org.junit.runner.Result;
import org.junit.runner.notification.RunListener;

/** Prints how many tests ran, which a quiet build does not. */
public final class Counts extends RunListener {
  @Override
  public void testRunFinished(Result result) {
    int failed = result.getFailureCount();
    System.out.printf(
        "core: %d passed, %d failed, %d skipped%n",
        result.getRunCount() - failed, failed, result.getIgnoreCount());
  }
}
